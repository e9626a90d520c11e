# SPDX-License-Identifier: Apache-2.0
"""`serving ownership`: show, offer, accept, transfer and renounce the ownership of contracts.

If the network has a record, what is sent is written down in it, so that the record stays in sync with the chain, and
unfinished work is resumed. Without a record the verbs act on the business ownership alone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.output import EXIT_CHECK_FAILED
from serving_network.cli.console.session import Session
from serving_network.cli.files.networks import DEFAULT_FILES, FILES, hand_out, record_if_any, record_of
from serving_network.cli.parts.plans import done_as_json, run_plan, show_calls
from serving_network.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from serving_network.deployment.ownership import Kind, Ownership
    from serving_network.deployment.plan import Plan
    from serving_network.deployment.record import Record
    from serving_network.deployment.record_file import RecordFile

app = typer.Typer(help="Show who owns the contracts, and transfer ownership.")

ALL = "all"


class Scope(StrEnum):
    """Which ownership is meant."""

    BUSINESS = "business"
    UPGRADE = "upgrade"
    BOTH = "both"

    @property
    def kinds(self) -> tuple[Kind, ...]:
        from serving_network.deployment.ownership import KINDS

        return KINDS if self is Scope.BOTH else tuple(kind for kind in KINDS if kind == self.value)


CONTRACT = Annotated[str, typer.Argument(help='"ledger", a service, or "all".')]
ONE_CONTRACT = Annotated[str, typer.Argument(help='"ledger", or a service.')]
NEW_OWNER = Annotated[str, typer.Argument(help="An address, or a name in the address book.")]
WHAT = Annotated[
    Scope, typer.Option(help="Ownership of the business, of the upgrades (needs the network's record), or of both.")
]


@app.command()
@reads
async def show(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Show who owns each contract according to the chain, and to whom it is offered.

    Upgrade owners are shown if the network has a record.

    Example: serving ownership show --network testnet
    """
    from serving_network.deployment.ownership import ownerships

    file = record_if_any(session, files)
    found = await _without_record(session) if file is None else await ownerships(await session.chain(), file.record)
    _show(session, found)


@app.command()
@writes
async def offer(
    session: Session,
    contract: CONTRACT,
    new_owner: NEW_OWNER,
    what: WHAT = Scope.BUSINESS,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Offer ownership of a contract. Nothing changes until the new owner accepts.

    Example: serving ownership offer ledger foundation
    """
    await _transfer(session, contract, new_owner, what, files, two_steps=True)


@app.command()
@writes
async def transfer(
    session: Session,
    contract: CONTRACT,
    new_owner: NEW_OWNER,
    what: WHAT = Scope.BUSINESS,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Transfer ownership at once and permanently. A wrong address loses the contract: prefer an offer.

    Example: serving ownership transfer inference foundation
    """
    await _transfer(session, contract, new_owner, what, files, two_steps=False)


@app.command()
@writes
async def accept(session: Session, contract: CONTRACT = ALL, files: FILES = DEFAULT_FILES) -> None:
    """Accept the ownership that is offered to the key in use.

    Example: serving ownership accept ledger --key foundation
    """
    from serving_network.deployment.ownership import plan_acceptance

    file = record_if_any(session, files)
    if file is None:
        owner = await session.owner()
        for name in await _offered(session, contract, owner.address):
            await owner.accept_ownership(name)
        return
    names = _names(file.record, contract)
    await _run(
        session,
        file,
        await plan_acceptance(await session.chain(), file.record, session.own_address(), names=names),
        files,
        "Accept?",
    )


@app.command()
@writes
async def renounce(session: Session, contract: ONE_CONTRACT, files: FILES = DEFAULT_FILES) -> None:
    """Leave a contract without an owner, permanently. No signer can be confirmed or revoked after that.

    Example: serving ownership renounce inference --dry-run
    """
    from serving_network.deployment.ownership import plan_renunciation

    file = record_if_any(session, files)
    if file is None:
        await (await session.owner()).renounce_ownership(contract)
        return
    (name,) = _names(file.record, contract)
    made = await plan_renunciation(await session.chain(), file.record, session.own_address(), name)
    await _run(session, file, made, files, "Renounce the ownership permanently?", default=False)


@app.command()
@reads
async def rehearse(
    session: Session,
    contract: CONTRACT,
    new_owner: NEW_OWNER,
    what: WHAT = Scope.BUSINESS,
    one_step: Annotated[bool, typer.Option("--one-step", help="Transfer at once instead of offering.")] = False,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Transfer ownership on a copy of the chain, and show what the old owner can no longer do. Sends nothing.

    Needs the network's record. Exits with code 9 if the old owner can still do something.

    Example: serving ownership rehearse all foundation --what upgrade --network testnet
    """
    from serving_network.deployment.ownership import plan_transfer, rehearse_transfer

    chain, record, sender = await session.chain(), record_of(session, files).record, session.own_address()
    made = await plan_transfer(
        chain,
        record,
        sender,
        session.address(new_owner),
        kinds=what.kinds,
        names=_names(record, contract),
        two_steps=not one_step,
    )
    powers = await rehearse_transfer(chain, record, made)
    session.out.result([{"contract": one.name, "power": one.says, "refusal": one.refusal} for one in powers])
    session.out.line(f"After the transfer, rehearsed on a copy of the chain, {session.name(sender)} can no longer:")
    for one in powers:
        session.out.line(f"  {one.name}: {one.says}" + (f" ({one.refusal})" if one.refusal else " - BUT STILL CAN"))
    if any(one.refusal is None for one in powers):
        raise typer.Exit(EXIT_CHECK_FAILED)


async def _transfer(
    session: Session, contract: str, new_owner: str, what: Scope, files: Path, *, two_steps: bool
) -> None:
    from serving_network.deployment.ownership import plan_transfer

    to, file = session.address(new_owner), record_if_any(session, files)
    if file is None and what is not Scope.BUSINESS:
        file = record_of(session, files)
    if file is None:
        owner = await session.owner()
        change = owner.offer_ownership if two_steps else owner.transfer_ownership
        for name in await _all(session) if contract == ALL else [contract]:
            await change(name, to)
        return
    chain, record = await session.chain(), file.record
    made = await plan_transfer(
        chain,
        record,
        session.own_address(),
        to,
        kinds=what.kinds,
        names=_names(record, contract),
        two_steps=two_steps,
    )
    if not made.resumed and not await chain.code(to) and not await chain.balance(to):
        session.out.note(f"{to} has never been used on this chain: make sure that somebody holds its key.")
    question = "Offer ownership?" if two_steps else "Transfer ownership permanently?"
    await _run(session, file, made, files, question, default=two_steps)


async def _run(
    session: Session, file: RecordFile, made: Plan, files: Path, question: str, *, default: bool = True
) -> None:
    """Show the calls, ask, send them, and print who owns what."""
    from serving_network.deployment.ownership import ownerships

    show_calls(session, made)
    done = await run_plan(session, file, made, files, question, default=default)
    if done is None:
        return
    written = hand_out(session, done.instructions, file.record, files) if made.what == "handover" else []
    session.out.result(done_as_json(done, written))
    if not session.out.as_json:
        session.out.line()
        _show(session, await ownerships(await session.chain(), file.record))


def _names(record: Record, contract: str) -> list[str]:
    """The recorded contracts that are meant: a service may be named by its type, for its recommended version."""
    if contract == ALL:
        return list(record.contracts)
    recommended = [
        name
        for name, one in record.services.items()
        if one.registration is not None and one.registration.recommended and one.registration.type == contract
    ]
    if contract not in record.contracts and recommended:
        return recommended
    record.contract(contract)
    return [contract]


async def _all(session: Session) -> list[str]:
    return ["ledger", *(one.name for one in await (await session.reader()).services())]


async def _offered(session: Session, contract: str, address: str) -> list[str]:
    """The contracts whose business ownership is to be accepted."""
    if contract != ALL:
        return [contract]
    offered = [one.name for one in await _without_record(session) if one.offered_to == address]
    if not offered:
        raise InvalidInput(f"Nothing is offered to {address}.", next_step="serving ownership show")
    return offered


async def _without_record(session: Session) -> list[Ownership]:
    """Who owns the business of the ledger and of each registered service."""
    from serving_network.deployment.ownership import read_ownership

    network = await session.reader()
    return [await read_ownership(await network.contract(name), name, "business") for name in await _all(session)]


def _show(session: Session, found: Sequence[Ownership]) -> None:
    """Print who owns what: by name if there is one, with the addresses below."""
    from serving_network.contracts.models import ZERO_ADDRESS

    named: dict[str, str] = {}

    def who(address: str) -> str:
        name = session.configuration.name_of(address)
        if name is not None:
            named[name] = address
        return name or ("nobody" if address == ZERO_ADDRESS else address)

    session.out.result(
        [
            {"contract": one.name, "ownership": one.kind, "owner": one.owner, "offered_to": one.offered_to}
            for one in found
        ]
    )
    session.out.table(
        ("contract", "ownership", "owner", "offered to"),
        [(one.name, one.kind, who(one.owner), who(one.offered_to) if one.offered_to else "nobody") for one in found],
        empty="The network has no contracts yet.",
    )
    session.out.facts(named)
