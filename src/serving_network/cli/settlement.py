# SPDX-License-Identifier: Apache-2.0
"""`serving settlement`: settlements, and the journal of what was settled.

| exit code | meaning |
|---|---|
| 5 | adopt: the node's state of a user's account is older than the journal |
| 9 | books: a contract holds less than it owes |
| 11 | adopt: a settlement needs a decision |
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from serving_network.cli.console.arguments import INFERENCE_SERVICE
from serving_network.cli.console.command import cancels, reads, records, writes
from serving_network.cli.console.complete import complete_address
from serving_network.cli.console.options import STUCK_AFTER
from serving_network.cli.console.output import EXIT_CHECK_FAILED, money
from serving_network.cli.console.progress_bars import progress_bars
from serving_network.cli.console.prompts import ask_to_go_on
from serving_network.cli.console.session import Session
from serving_network.cli.files.journal import (
    JOURNAL,
    directory,
    existing_journal,
    journal_of,
    newest_transaction,
    provider_address,
    run_locked,
)
from serving_network.cli.files.settlements import read_settlements
from serving_network.cli.parts.settlement_list import batch_as_json, show_batches, show_voids, void_as_json
from serving_network.cli.parts.settlement_report import outcomes_as_json, show_books, show_outcomes
from serving_network.counting import count
from serving_network.errors import InvalidInput
from serving_network.money import WEI_PER_GWEI, parse_wei, rounded
from serving_network.settlement.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.settlement.adopting import Adopted, Decision
    from serving_network.settlement.cancelling import CancellationPlan, Cancelled
    from serving_network.settlement.journal import Journal
    from serving_network.settlement.journal.records import Batch, UserState

EXIT_BEHIND = 5
EXIT_UNDECIDED = 11

app = typer.Typer(help="Manage settlements, and the journal of what was settled.")


@app.command("list")
@reads
async def list_settlements(
    session: Session,
    recent: Annotated[int, typer.Option(min=0, help="The number of ended batches to show.")] = 10,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """List the journal's batches, what they are waiting for, and voided requests.

    This reads only the journal. With --journal, it does not need a node.

    Example: serving settlement list --key provider
    """
    from serving_network.store.served import summarise

    file = await existing_journal(session, service, journal)
    with file.read() as opened:
        batches, voids = opened.summaries(recent), opened.voids()
        users = sorted((user for user in opened.users() if user.open), key=lambda user: (-user.open, user.address))
        open_work = [(user.address, opened.open_work(user).requests, user.open) for user in users]
    session.out.result(
        {
            "journal": str(file.path),
            "batches": [batch_as_json(one) for one in batches],
            "open": [{"user": user, "requests": number, "fee": money(fee)} for user, number, fee in open_work],
            "voids": [void_as_json(one) for one in voids],
        }
    )
    show_batches(session, batches)
    total = sum(fee for _, _, fee in open_work)
    served = max(0, summarise(file.path).unsettled - total)
    if open_work:
        session.out.line(f"Open  {rounded(total)} of {count(len(open_work), 'user')}.")
    elif not served:
        session.out.line("Nothing is open.")
    if served:
        session.out.line(f"Served by the gateway and not recorded yet: {rounded(served)}. The next run settles it.")
    show_voids(session, voids)


@app.command()
@cancels
async def cancel(
    session: Session,
    batches: Annotated[
        list[int] | None,
        typer.Argument(metavar="[BATCH]...", help="Cancel these batches only. Default: all with pending transactions."),
    ] = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
    confirmations: Annotated[int, typer.Option(min=1, help="Book a result once its block is this deep.")] = 1,
    stuck_after: STUCK_AFTER = Options.stuck_after,
    give_up_after: Annotated[
        float, typer.Option(help="Seconds to wait for the transactions. Run it again to continue.")
    ] = Options.give_up_after,
) -> None:
    """Cancel settlements whose transactions are pending, so that their users can be settled again.

    An empty transaction replaces each of them and uses every unused nonce before it, with a fee up to --max-fee. If a
    settlement is mined before it is cancelled, it is booked.

    Example: serving settlement cancel --key provider --max-fee '200 gwei'
    """
    from serving_network.settlement.cancelling import cancel as cancel_batches
    from serving_network.settlement.cancelling import plan_cancellation
    from serving_network.settlement.live import LiveChain

    options = Options(
        max_gas_price=Options.max_gas_price if session.sending.max_fee is None else session.sending.max_fee,
        confirmations=confirmations,
        stuck_after=stuck_after,
        give_up_after=give_up_after,
    )
    chain = await LiveChain.open(
        await session.chain(), session.signer(), session.network.require_ledger(), service=service
    )
    file = await journal_of(chain, journal)
    file.require()
    with file.locked(), file.copied() if session.dry_run else file.opened() as opened:
        plan = await plan_cancellation(chain, opened, batches or None)
        if session.dry_run or not plan.places:
            session.out.result({"dry_run": session.dry_run, "plan": _plan_as_json(plan)})
            _show_plan(session, plan, options)
            return
        if not session.sending.yes:
            _show_plan(session, plan, options)
            ask_to_go_on()
        try:
            done = await cancel_batches(chain, opened, options, plan)
        finally:
            session.sent = newest_transaction(opened)
    session.out.result({"dry_run": False, "plan": _plan_as_json(plan), "done": _done_as_json(done)})
    _show_done(session, done)


def _show_plan(session: Session, plan: CancellationPlan, options: Options) -> None:
    from serving_network.settlement.cancelling import GAS

    out = session.out
    if not plan.places:
        out.line("No transaction is pending: there is nothing to cancel.")
        return
    for batch in plan.batches:
        if not batch.rows:
            continue
        fee = sum(row.settlement.total_fee for row in batch.rows if not row.accepted)
        out.line(f"Batch {batch.id}  {rounded(fee)} of {_users(batch)}, signed but not accepted.")
    for place in plan.places:
        if place.waiting is None:
            out.line(f"Nonce {place.nonce}  no transaction in this journal: unused, or used by another program.")
        else:
            price = Decimal(place.waiting.max_fee_per_gas) / WEI_PER_GWEI
            out.line(f"Nonce {place.nonce}  {place.waiting.hash} is pending, at up to {price:f} gwei per gas.")
    most = rounded(GAS * options.max_gas_price * len(plan.places), at_most=True)
    what = count(len(plan.places), "empty transaction")
    out.line(f"Cancelling sends {what} from the wallet to itself. Gas: at most {most}.")


def _users(batch: Batch) -> str:
    return count(len({row.user.address for row in batch.rows if not row.accepted}), "user")


def _show_done(session: Session, done: Cancelled) -> None:
    out = session.out
    for sent in done.sent:
        out.line(f"Sent the empty transaction {sent.hash} with nonce {sent.nonce}.")
    for row, outcome in done.results:
        out.line(f"Mined before it could be cancelled: {session.name(row.user.address)} paid {rounded(outcome.paid)}.")
    for batch in done.batches:
        if batch.rows and batch.id not in done.waiting:
            unpaid = sum(not row.accepted for row in batch.rows)
            out.line(f"Batch {batch.id}  cancelled: {unpaid} of {len(batch.rows)} settlements were not accepted.")
    for note in done.notes:
        out.line(f"Note  {note}")
    if done.gas_cost:
        out.line(f"Gas used {done.gas_used}, {rounded(done.gas_cost)}.")
    out.line("Run serving settle to settle what is open. It ends the batches once the cancellation is final.")


def _plan_as_json(plan: CancellationPlan) -> dict[str, Any]:
    return {
        "batches": [batch.id for batch in plan.batches],
        "nonces": [
            {
                "nonce": place.nonce,
                "batch": place.batch,
                "waiting": None if place.waiting is None else place.waiting.hash,
                "max_fee_per_gas": None if place.waiting is None else str(place.waiting.max_fee_per_gas),
            }
            for place in plan.places
        ],
    }


def _done_as_json(done: Cancelled) -> dict[str, Any]:
    return {
        "sent": [{"transaction": sent.hash, "nonce": sent.nonce} for sent in done.sent],
        "paid": money(done.paid),
        "users_paid": [{"user": row.user.address, "paid": money(outcome.paid)} for row, outcome in done.results],
        "waiting": done.waiting,
        "notes": done.notes,
        "gas": done.gas_used,
        "gas_cost": money(done.gas_cost),
    }


@app.command()
@records
async def adopt(
    session: Session,
    users: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[USER]...", help="Adopt for these users only. Default: all.", autocompletion=complete_address
        ),
    ] = None,
    paid_before: Annotated[
        bool, typer.Option("--paid-before", help="Book unrecognised settlements as paid for no recorded request.")
    ] = False,
    covers: Annotated[
        int | None,
        typer.Option(
            parser=parse_wei,
            metavar="AMOUNT",
            help="Book the user's oldest unrecognised settlement as having paid this amount for recorded requests.",
        ),
    ] = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Book settlements that the chain accepted and that are not in the journal.

    Use this after a journal was lost or restored, or if another program settled for the provider. Record the usage log
    first, with serving settle. A settlement whose hash matches the recorded requests is booked as their payment; any
    other needs a decision: --paid-before or --covers.

    Example: serving settlement adopt --key provider --dry-run
    """
    from serving_network.clients.read.books import deployment_block
    from serving_network.settlement.adopting import How
    from serving_network.settlement.adopting import adopt as adopt_settlements
    from serving_network.settlement.live import LiveChain
    from serving_network.signing import AddressOnly

    decision = _decision(paid_before, covers)
    connection, provider = await session.chain(), session.address(provider_address(session))
    chain = await LiveChain.open(connection, AddressOnly(provider), session.network.require_ledger(), service=service)
    wanted = None if not users else [session.address(user) for user in users]
    file = await journal_of(chain, journal)
    file.require()
    first = await deployment_block(connection, chain.contract)
    with file.locked():
        with file.copied() as copy:
            found = await adopt_settlements(chain, copy, _chosen_users(copy, wanted), decision, first)
        written = any(one.how.booked for one in found) and not session.dry_run
        if written:
            if not session.sending.yes:
                _show_adopted(session, found, "would cover")
                ask_to_go_on(what="written")
            with file.opened() as opened:
                found = await adopt_settlements(chain, opened, _chosen_users(opened, wanted), decision, first)
    session.out.result({"dry_run": session.dry_run, "settlements": [_adopted_as_json(one) for one in found]})
    _show_adopted(session, found, "covered" if written else "would cover")
    if session.dry_run:
        session.out.line("Nothing was written.")
    if any(one.how is How.BEHIND for one in found):
        raise typer.Exit(EXIT_BEHIND)
    if not all(one.how.booked for one in found):
        raise typer.Exit(EXIT_UNDECIDED)


def _decision(paid_before: bool, covers: int | None) -> Decision | None:
    from serving_network.settlement.adopting import Covers, PaidBefore

    if paid_before and covers is not None:
        raise InvalidInput("--paid-before and --covers cannot be combined.", next_step="Use one of them.")
    return PaidBefore() if paid_before else None if covers is None else Covers(covers)


def _chosen_users(journal: Journal, wanted: Sequence[str] | None) -> list[UserState]:
    if wanted is None:
        return journal.users()
    found = []
    for address in wanted:
        user = journal.user(address)
        if user is None:
            raise InvalidInput(
                f"No requests of {address} are recorded.", next_step="Record the usage log first, with serving settle."
            )
        found.append(user)
    return found


def _show_adopted(session: Session, found: Sequence[Adopted], covered: str) -> None:
    session.out.table(
        ("user", "nonce", "fee", "paid", covered, "requests", "block", "transaction"),
        [
            (
                session.name(one.user),
                str(one.nonce),
                _known(one.fee),
                _known(one.paid),
                rounded(one.covered),
                str(one.requests),
                "unknown" if one.block_number is None else str(one.block_number),
                one.transaction or "unknown",
            )
            for one in found
        ],
        empty="Journal and chain agree: there is nothing to adopt.",
    )
    for how, number in Counter(one.how for one in found).items():
        session.out.line(f"{count(number, 'settlement')}  {how.value}")


def _known(wei: int | None) -> str:
    return "unknown" if wei is None else rounded(wei)


def _adopted_as_json(one: Adopted) -> dict[str, Any]:
    return {
        "user": one.user,
        "nonce": str(one.nonce),
        "result": one.how.name.lower(),
        "booked": one.how.booked,
        "why": one.how.value,
        "fee": None if one.fee is None else money(one.fee),
        "paid": None if one.paid is None else money(one.paid),
        "covered": money(one.covered),
        "requests": one.requests,
        "block": one.block_number,
        "transaction": one.transaction or None,
    }


@app.command()
@reads
async def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The file to write the copy to. It must not exist.")],
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Back up the journal, even while a run writes it.

    A restored backup lacks what was settled since: after restoring it, run serving settle, then serving settlement
    adopt. That of a gateway lacks receipts, too: run serving gateway adopt first.

    Example: serving settlement backup journal-2026-11-29 --key provider
    """
    from serving_network.store.location import PostgresStore
    from serving_network.store.opening import copy_journal
    from serving_network.store.served import summarise

    source = await existing_journal(session, service, journal)
    if isinstance(source.path, PostgresStore):
        after = _after_restoring(gateway=summarise(source.path).requests > 0)
        raise InvalidInput(
            "This journal is in PostgreSQL, whose own tools back it up.",
            next_step=f"Run pg_dump --format=custom --file={file} '{source.path}'. {after}",
        )
    if file.exists():
        raise _exists(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as directory:
        copy = Path(directory) / "journal"
        copy_journal(source.path, copy)
        content = _content_of(copy)
        with copy.open("rb") as written:
            os.fsync(written.fileno())
        copy.chmod(0o600)
        try:
            os.link(copy, file)
        except FileExistsError:
            raise _exists(file) from None
        except OSError:  # a file system without links
            copy.rename(file)
    size = file.stat().st_size
    session.out.result(
        {
            "journal": str(source.path),
            "copy": str(file),
            "bytes": size,
            "users": content and content.users,
            "requests": content and content.requests,
            "open_batches": content and content.open_batches,
            "last_booked_block": content and content.last_booked_block,
        }
    )
    session.out.line(f"Copied {source.path} to {file}: {size} bytes.")
    if content is None:
        session.out.line("It is of another version of this program, so its content is not counted.", "yellow")
    else:
        session.out.facts(
            ({"served": count(content.served, "request")} if content.served else {})
            | {
                "users": str(content.users),
                "requests": str(content.requests),
                "open batches": str(content.open_batches),
                "booked up to": f"block {content.last_booked_block}"
                if content.last_booked_block
                else "no bookings yet",
            }
        )
    session.out.line(_after_restoring(gateway=content is not None and content.served > 0))


def _after_restoring(*, gateway: bool) -> str:
    """What to do after a backup was restored. Receipts that a gateway's store lacks come before settlements."""
    if gateway:
        return (
            "After restoring it, run serving gateway adopt with the bills that users exported, then serving settle,"
            " then serving settlement adopt."
        )
    return "After restoring it, run serving settle, then serving settlement adopt."


class _Content(NamedTuple):
    """What a journal contains."""

    served: int
    users: int
    requests: int
    open_batches: int
    last_booked_block: int | None


def _content_of(copy: Path) -> _Content | None:
    """What is in a journal; None if it is of another version. Raises JournalFailure if it is damaged."""
    from serving_network.settlement.journal import read_journal
    from serving_network.store.opening import OtherVersion
    from serving_network.store.served import summarise

    try:
        with read_journal(copy) as journal:
            users = journal.users()
            return _Content(
                summarise(copy).requests,
                len(users),
                sum(user.requests for user in users),
                len(journal.open_batches()),
                journal.last_booked_block(),
            )
    except OtherVersion:
        return None


def _exists(file: Path) -> InvalidInput:
    return InvalidInput(f"{file} already exists.", next_step="Name a file that does not exist yet.")


@app.command()
@records
async def move(
    session: Session,
    database: Annotated[
        str,
        typer.Argument(metavar="URL", help="An empty database: postgresql://USER@HOST/DATABASE, without a password."),
    ],
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Move the journal from its file to PostgreSQL, for several gateways.

    Stop the gateway and the settler first. The file stays where it is, marked as moved, and no command uses it again.
    If the move is interrupted, run it again.

    Example: serving settlement move postgresql://serving@db.example/serving --key provider
    """
    from serving_network.store.intake import gateway_lock
    from serving_network.store.location import PostgresStore, located
    from serving_network.store.moving import move_journal

    target = located(database, directory())
    if not isinstance(target, PostgresStore):
        raise InvalidInput(
            f"{database} is not the URL of a database.", next_step="Write postgresql://USER@HOST/DATABASE."
        )
    file = await existing_journal(session, service, journal)
    if isinstance(file.path, PostgresStore):
        raise InvalidInput("This journal is in PostgreSQL already.", next_step="Name a file with --journal.")
    with file.locked(), gateway_lock(file.path, "A gateway uses this journal."):
        if session.dry_run:
            session.out.result({"dry_run": True, "journal": str(file.path), "database": str(target)})
            session.out.line(f"Would move {file.path} to {target}. Nothing was written.")
            return
        if not session.sending.yes:
            session.out.note(f"This moves {file.path} to {target}. The file cannot be used afterwards.")
            ask_to_go_on(what="written")
        with progress_bars(session) as bars:
            moved = move_journal(file.path, target, file.identity, bars.show)
    session.out.result({"dry_run": False, "journal": str(file.path), "database": str(target)} | asdict(moved))
    how = "was moved already to" if moved.again else "is now in"
    session.out.line(f"{file.path} {how} {target}.")
    session.out.facts({"users": str(moved.users), "requests": str(moved.requests), "served": str(moved.served)})
    session.out.line(f'From now on, use --journal {target}; in a gateway\'s settings: store = "{target}"')


@app.command()
@records
async def void(
    session: Session,
    request: Annotated[str, typer.Argument(metavar="ID", help="The request's id exactly as in the log, or its hash.")],
    reason: Annotated[str, typer.Option(help="Why the request is not charged. Kept in the journal.")],
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Void a recorded request, so that it is never charged. This cannot be undone.

    The request must be entirely unpaid and not be part of a settlement that may still take effect.

    Example: serving settlement void req-8f2a --reason "The answer was empty" --key provider
    """
    from serving_network.messages.usage import identify_request
    from serving_network.settlement.journal.decisions import LEAVE_OUT

    reason = reason.strip()
    if not reason:
        raise InvalidInput("Voiding a request requires a reason.", next_step='Add --reason "..."')
    try:
        request_hash, _ = identify_request(request)
    except ValueError as error:
        raise InvalidInput(
            f"This is not a request id: {error}.", next_step="Give the id exactly as in the log."
        ) from None
    file = await existing_journal(session, service, journal, next_step=f"Name the journal with --journal. {LEAVE_OUT}")
    with file.locked(), file.copied() if session.dry_run else file.opened() as opened:
        found = opened.voidable(request_hash)
        what = f"request {request} of {session.name(found.user)}, {rounded(found.fee)}"
        if session.dry_run:
            session.out.line(f"Would void {what}. Nothing was written.")
        else:
            if not session.sending.yes:
                session.out.note(f"This voids {what}. It cannot be undone.")
                ask_to_go_on(what="written")
            opened.void(request_hash, reason, int(time.time()))
            session.out.line(f"Voided {what}.")
            session.out.note("Earlier backups do not contain it. Make a new one: serving settlement backup COPY")
    session.out.result(
        {
            "dry_run": session.dry_run,
            "request": request_hash,
            "user": found.user,
            "fee": money(found.fee),
            "reason": reason,
        }
    )


@app.command()
@reads
async def books(session: Session) -> None:
    """Compare what each contract holds with what it owes. Exits with code 9 if one holds less.

    Example: serving settlement books
    """
    from serving_network.clients.read.books import network_books

    lines = (await network_books(await session.reader())).lines
    session.out.result(
        [
            {
                "contract": line.contract,
                "address": line.address,
                "held": money(line.held),
                "owed": {name: money(amount) for name, amount in line.owed.items()},
                "surplus": money(line.surplus),
            }
            for line in lines
        ]
    )
    show_books(session.out, lines)
    if any(line.surplus < 0 for line in lines):
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command()
@reads
async def preview(
    session: Session,
    file: Annotated[Path, typer.Argument(help="A JSON file of signed settlements.")],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Show what settling signed settlements now would pay, as the provider. Sends nothing.

    Example: serving settlement preview signed.json
    """
    provider = await session.provider()
    outcomes = await provider.preview(read_settlements(file), service)
    session.out.result(outcomes_as_json(outcomes))
    show_outcomes(session, outcomes)


@app.command()
@writes
async def send(
    session: Session,
    file: Annotated[Path, typer.Argument(help="A JSON file of signed settlements.")],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Send settlements that the TEE signed, as the provider, 50 per transaction.

    To settle from a usage log, with a crash-safe journal, use serving settle.

    Example: serving settlement send signed.json --dry-run
    """
    provider = await session.provider()
    settlements = read_settlements(file)
    contract = (await provider.service(service)).address
    with run_locked(provider.chain.chain_id, contract, provider.address):
        outcomes = await provider.preview(settlements, service) if session.dry_run else []
        outcomes += await provider.settle(settlements, service)
    session.beside["outcomes"] = outcomes_as_json(outcomes)
    show_outcomes(session, outcomes)
