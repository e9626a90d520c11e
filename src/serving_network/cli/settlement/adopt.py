"""`serving settlement adopt`

| exit code | meaning |
|---|---|
| 0 | journal and chain agree |
| 5 | the node's state of a user's account is older than the journal |
| 11 | a settlement needs a decision |
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.command import records
from serving_network.cli.complete import complete_address
from serving_network.cli.journal_file import JOURNAL, journal_of, provider_address
from serving_network.cli.output import money
from serving_network.cli.prompts import ask_to_go_on
from serving_network.cli.session import Session
from serving_network.errors import InvalidInput
from serving_network.money import describe, parse_wei
from serving_network.settlement.adopting import Adopted, Covers, Decision, How, PaidBefore
from serving_network.settlement.adopting import adopt as adopt_settlements
from serving_network.settlement.books import deployment_block
from serving_network.settlement.live import LiveChain
from serving_network.settlement.report import count
from serving_network.signing import AddressOnly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.settlement.journal import Journal
    from serving_network.settlement.journal.records import UserState

EXIT_BEHIND = 5
EXIT_UNDECIDED = 11


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
    decision = _decision(paid_before, covers)
    network = await session.reader()
    provider = session.address(provider_address(session))
    chain = await LiveChain.open(network, AddressOnly(provider), service)
    wanted = None if not users else [session.address(user) for user in users]
    file = await journal_of(chain, journal)
    file.require()
    first = await deployment_block(network.chain, chain.contract)
    with file.locked():
        with file.copied() as copy:
            found = await adopt_settlements(chain, copy, _chosen(copy, wanted), decision, first)
        written = any(one.how.booked for one in found) and not session.dry_run
        if written:
            if not session.sending.yes:
                _show(session, found, "would cover")
                ask_to_go_on(what="written")
            with file.opened() as opened:
                found = await adopt_settlements(chain, opened, _chosen(opened, wanted), decision, first)
    session.out.result({"dry_run": session.dry_run, "settlements": [_as_json(one) for one in found]})
    _show(session, found, "covered" if written else "would cover")
    if session.dry_run:
        session.out.line("Nothing was written.")
    if any(one.how is How.BEHIND for one in found):
        raise typer.Exit(EXIT_BEHIND)
    if not all(one.how.booked for one in found):
        raise typer.Exit(EXIT_UNDECIDED)


def _decision(paid_before: bool, covers: int | None) -> Decision | None:
    if paid_before and covers is not None:
        raise InvalidInput("--paid-before and --covers cannot be combined.", next_step="Use one of them.")
    return PaidBefore() if paid_before else None if covers is None else Covers(covers)


def _chosen(journal: Journal, wanted: Sequence[str] | None) -> list[UserState]:
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


def _show(session: Session, found: Sequence[Adopted], covered: str) -> None:
    session.out.table(
        ("user", "nonce", "fee", "paid", covered, "requests", "block", "transaction"),
        [
            (
                session.name(one.user),
                str(one.nonce),
                _amount(one.fee),
                _amount(one.paid),
                describe(one.covered),
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


def _amount(wei: int | None) -> str:
    return "unknown" if wei is None else describe(wei)


def _as_json(one: Adopted) -> dict[str, Any]:
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
