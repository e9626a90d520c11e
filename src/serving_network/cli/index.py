# SPDX-License-Identifier: Apache-2.0
"""`serving index`: build an index of the network's events, show how far it is, and compare it with the contracts."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.console.command import reads
from serving_network.cli.console.output import EXIT_CHECK_FAILED, money
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time, moment
from serving_network.cli.files.index import INDEX, build, index_at, named_in_next_steps, subject_of
from serving_network.counting import count
from serving_network.money import rounded

if TYPE_CHECKING:
    from serving_network.explorer.index.following import Follower, Progress
    from serving_network.explorer.index.found import Checked, Tip

app = typer.Typer(help="Index the contracts' events, and compare the index with the contracts.")

REPORT_SECONDS = 5.0
MOST_LISTED = 20
SILENT = "changed without an event"


@app.command()
@reads
async def run(
    session: Session,
    index: INDEX = None,
    once: Annotated[bool, typer.Option("--once", help="Stop at the newest block, after a check.")] = False,
    from_block: Annotated[
        int | None,
        typer.Option(
            min=0, help="The first block of a new index. Default: the block in which the ledger was deployed."
        ),
    ] = None,
    confirmations: Annotated[int, typer.Option(min=0, help="Leave out this many blocks at the end of the chain.")] = 0,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the chain.")] = 2.0,
    check_every: Annotated[
        float, typer.Option(min=0, help="Seconds between two checks against the contracts; 0: no checks.")
    ] = 600.0,
) -> None:
    """Index the events of the ledger and its services, and keep following them until Ctrl-C.

    A run continues where the last one stopped, and follows reorganisations. With --once, exits with code 9 if the index
    differs from what the contracts answer.

    Example: serving index run --network mainnet --index postgresql://index@localhost/serving
    """
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    gc.set_threshold(100_000, 50, 100)  # a step makes many small objects and few cycles: this saves a sixth of the time
    progress = _Reports(session)
    async with _follower(session, index, from_block, confirmations) as follower:
        if not once:
            await follower.follow(every, progress.add, check_every=check_every, checked=progress.checked)
        reached = await follower.catch_up(progress.add)
        checked = await follower.check() if check_every else None
    session.out.result(
        {"block": reached.block, "events": progress.events} | ({} if checked is None else {"check": _as_json(checked)})
    )
    if checked is not None:
        _show(session, checked, index)


@app.command()
@reads
async def status(session: Session, index: INDEX = None) -> None:
    """Show how far an index is, what it contains, and its last check. Needs no node.

    Example: serving index status
    """
    from serving_network.explorer.index.opening import reading

    location = index_at(index, session.network)
    with named_in_next_steps(index), reading(location) as found:
        tip, checked, contents = found.tip(), found.checked(), found.contents()
        oddities = found.oddities(limit=MOST_LISTED).entries
    session.out.result(
        {"index": str(location), **_tip_as_json(tip), "contents": contents}
        | {"check": None if checked is None else _as_json(checked)}
        | {"newest_oddities": [asdict(one) for one in oddities]}
    )
    behind = tip.head - tip.block
    session.out.facts(
        {
            "index": str(location),
            "ledger": tip.ledger,
            "block": f"{tip.block}, {count(behind, 'block')} behind" if behind > 0 else str(tip.block),
            "block time": local_time(tip.time),
            "last look": local_time(tip.looked_at) if tip.looked_at else "never",
            "reorganisations": str(tip.reorganisations),
            **{name: str(number) for name, number in contents.items()},
            "last check": "never" if checked is None else f"{local_time(checked.at)}, {_verdict(checked)}",
        }
    )
    for one in oddities:
        session.out.line(f"Oddity in {one.contract_name}, block {one.at.block}: {one.what}.")


@app.command()
@reads
async def check(
    session: Session,
    index: INDEX = None,
    history: Annotated[
        bool,
        typer.Option(
            "--history/--no-history",
            help="Also read all events again, which takes as long as building the index, and compare every row.",
        ),
    ] = True,
) -> None:
    """Compare an index with what the contracts answer at the index's last block, and every row with the chain.

    Balances, pending refunds, available money and registrations are compared one by one and in total; a contract holds
    at least what it owes. Then all events are read again, into a temporary file.

    Exits with code 9 if something differs.

    Example: serving index check
    """
    from serving_network.explorer.index.opening import reading
    from serving_network.explorer.index.reconciling import reconcile
    from serving_network.explorer.index.rereading import recheck

    chain = await session.chain()
    progress = _Reports(session)
    with named_in_next_steps(index), reading(index_at(index, session.network)) as found:
        checked = await (recheck(found, chain, progress.reread) if history else reconcile(found, chain))
    session.out.result(_as_json(checked))
    _show(session, checked, index)


@app.command()
@reads
async def search(
    session: Session,
    text: Annotated[
        str, typer.Argument(help="An address or a transaction, or its beginning; or the name of a service or a model.")
    ],
    index: INDEX = None,
) -> None:
    """Find users, providers, services and transactions in an index, and show what it knows about each. Needs no node.

    Example: serving index search good-provider
    """
    from serving_network.cli.parts.index_details import details_of
    from serving_network.explorer.index.listing import Lists
    from serving_network.explorer.index.opening import reading

    named = session.configuration.addresses().get(text, text)
    with named_in_next_steps(index), reading(index_at(index, session.network)) as found:
        hits = [(hit, details_of(found, hit)) for hit in Lists(found).search(named)]
    session.out.result([asdict(hit) | {"details": [one.as_json() for one in details]} for hit, details in hits])
    for hit, details in hits:
        session.out.line(f"{hit.kind} {hit.key}", "bold")
        for one in details:
            session.out.line(f"  {one.line}")
    if not hits:
        session.out.note("Nothing found.")


class _Reports:
    """Progress of a run: a line every few seconds while it catches up, then one for each step with events."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next = time.monotonic() + REPORT_SECONDS
        self._since = 0
        self.events = 0

    def add(self, progress: Progress) -> None:
        out = self._session.out
        self.events += progress.events
        self._since += progress.events
        if progress.undone_to is not None:
            out.note(f"The chain was reorganised: went back to block {progress.undone_to}.")
        if progress.done and self._since:
            out.note(f"Indexed up to block {progress.block}: {count(self._since, 'event')}.")
            self._since = 0
        elif not progress.done and time.monotonic() >= self._next:
            self._next = time.monotonic() + REPORT_SECONDS
            out.note(f"Block {progress.block} of {progress.head}, {count(self._since, 'event')} so far.")

    def reread(self, progress: Progress) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REPORT_SECONDS
            self._session.out.note(f"Read block {progress.block} of {progress.head} again.")

    def checked(self, result: Checked) -> None:
        self._session.out.note(f"Checked block {result.block}: {_verdict(result)}.")


@asynccontextmanager
async def _follower(
    session: Session, index: str | None, first: int | None, confirmations: int
) -> AsyncIterator[Follower]:
    """A follower of the session's network, with its index open for writing."""
    from serving_network.explorer.index.following import Follower
    from serving_network.explorer.index.opening import writing

    chain, ledger = await session.chain(), session.network.require_ledger()
    subject = await subject_of(chain, ledger)
    with named_in_next_steps(index), writing(index_at(index, session.network), subject) as db:
        yield Follower(db, chain, ledger, first=first, confirmations=confirmations)


def _show(session: Session, checked: Checked, index: str | None) -> None:
    """Print a check. Ends the command with exit code 9 if something differs."""
    out = session.out
    compared = [count(number, name.removesuffix("s")) for name, number in checked.compared.items() if name != SILENT]
    out.line(f"Compared with the contracts at block {checked.block}: {', '.join(compared)}.")
    if silent := checked.compared.get(SILENT):
        out.line(f"{count(silent, 'acknowledgement or penalty', 'acknowledgements or penalties')} {SILENT}.")
    for name in checked.unanswered:
        out.line(f"{name} does not list its accounts, so they were not compared.")
    for one in checked.coins:
        beyond = f", {rounded(one.surplus)} more than it owes" if one.surplus > 0 else ""
        missing = f", {rounded(-one.surplus)} less than it owes" if one.surplus < 0 else ""
        out.line(f"{one.name} holds {rounded(one.held)}{beyond}{missing}.", "bold red" if missing else None)
    for difference in checked.differences[:MOST_LISTED]:
        out.line(
            f"{difference.contract}: {difference.what} is {difference.indexed} in the index, and {difference.answered}"
            " on the chain.",
            "bold red",
        )
    if checked.different > MOST_LISTED:
        out.line(f"... and {checked.different - MOST_LISTED} more.", "bold red")
    if checked.agrees:
        out.line("The index agrees with the contracts.", "bold")
        return
    out.line(f"The index differs from the contracts. Next: delete it and build it again: {build(index)}", "bold red")
    raise typer.Exit(EXIT_CHECK_FAILED)


def _verdict(checked: Checked) -> str:
    if checked.agrees:
        return f"the index agrees with the contracts at block {checked.block}"
    return f"{count(checked.different, 'difference')} from the contracts at block {checked.block}"


def _as_json(checked: Checked) -> dict[str, Any]:
    return asdict(checked) | {
        "at": moment(checked.at),
        "agrees": checked.agrees,
        "coins": [
            {"contract": one.contract, "name": one.name, "held": money(one.held), "owed": money(one.owed)}
            for one in checked.coins
        ],
    }


def _tip_as_json(tip: Tip) -> dict[str, Any]:
    return asdict(tip) | {"time": moment(tip.time), "looked_at": moment(tip.looked_at) if tip.looked_at else None}
