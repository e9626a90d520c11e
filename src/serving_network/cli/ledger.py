# SPDX-License-Identifier: Apache-2.0
"""`serving ledger`: a user's coins in the ledger, from the first deposit to the last withdrawal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.arguments import (
    AMOUNT,
    AMOUNT_HELP,
    AMOUNT_OR_ALL,
    INFERENCE_SERVICE,
    PROVIDER,
    USER_OR_SELF,
)
from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.complete import complete_address, complete_service
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import moment, until
from serving_network.counting import span
from serving_network.errors import InvalidInput, NodeFailure
from serving_network.money import ALL, describe, parse_amount, parse_wei, rounded
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from serving_network.clients.user import AsyncUser

app = typer.Typer(help="Manage your ledger: deposit coins, fund providers, retrieve coins and withdraw them.")


@app.command("open")
@writes
async def open_ledger(
    session: Session,
    amount: AMOUNT,
    info: Annotated[str, typer.Option(help="Additional information for providers, at most 4096 bytes.")] = "",
) -> None:
    """Open a ledger, from which you fund providers.

    Example: serving ledger open 3
    """
    await (await session.user()).open_ledger(amount, info)


@app.command()
@reads
async def show(session: Session, user: USER_OR_SELF = None) -> None:
    """Show one ledger.

    Example: serving ledger show
    """
    from serving_network.contracts.errors import LedgerNotExists

    whose = session.address_or_own(user)
    ledger = await (await session.reader()).ledger(whose)
    if ledger is None:
        raise LedgerNotExists(user=whose)
    session.out.result(
        {"user": ledger.user, "available": money(ledger.available), "total": money(ledger.total), "info": ledger.info}
    )
    session.out.facts(
        {
            "user": session.name(ledger.user),
            "available": rounded(ledger.available),
            "with providers": rounded(ledger.with_providers),
            "total": rounded(ledger.total),
            "information": ledger.info or "none",
        }
    )


@app.command("list")
@reads
async def list_ledgers(session: Session) -> None:
    """List all ledgers of the network.

    Example: serving ledger list --json
    """
    ledgers = await (await session.reader()).ledgers()
    session.out.result(
        [{"user": one.user, "available": money(one.available), "total": money(one.total)} for one in ledgers]
    )
    session.out.table(
        ("user", "available", "with providers", "total"),
        [
            (session.name(one.user), rounded(one.available), rounded(one.with_providers), rounded(one.total))
            for one in ledgers
        ],
        empty="There are no ledgers yet.",
    )


@app.command()
@writes
async def deposit(
    session: Session,
    amount: AMOUNT,
    recipient: Annotated[
        str | None,
        typer.Option("--for", help="The ledger's user. Default: the key in use.", autocompletion=complete_address),
    ] = None,
) -> None:
    """Deposit coins from your wallet into a ledger.

    Example: serving ledger deposit 1.5
    """
    user = await session.user()
    await user.deposit(amount, session.address(recipient) if recipient else None)


@app.command()
@writes
async def fund(
    session: Session,
    provider: PROVIDER,
    amount: AMOUNT,
    service: INFERENCE_SERVICE = "inference",
    even_unregistered: Annotated[
        bool, typer.Option("--even-unregistered", help="Fund an address that has not registered a service, too.")
    ] = False,
) -> None:
    """Move coins from the ledger to the account with a provider, and acknowledge its TEE signer.

    Example: serving ledger fund good-provider 2
    """
    user = await session.user()
    whose = session.address(provider)
    check = await user.check_funding(whose, amount, service)
    if check.obstacle is not None and not (check.offer is None and even_unregistered):
        raise check.obstacle
    for warning in check.warnings:
        session.out.note(f"Note: {warning}", "yellow")
    session.out.note(
        f"This uses {describe(check.moved)} of the {describe(check.available)} available in the ledger. "
        f"After a refund request, coins unlock in {span(check.locked_for)}."
    )
    await user.fund(whose, amount, service, even_unregistered=even_unregistered)


@app.command("top-up")
@writes
async def top_up(
    session: Session,
    provider: PROVIDER,
    below: Annotated[
        int, typer.Option(parser=parse_wei, metavar="AMOUNT", help=f"Top up a balance below this. {AMOUNT_HELP}")
    ],
    to: Annotated[int, typer.Option(parser=parse_wei, metavar="AMOUNT", help=f"Top up to this balance. {AMOUNT_HELP}")],
    service: INFERENCE_SERVICE = "inference",
    every: Annotated[float | None, typer.Option(min=1, help="Check again every N seconds, until Ctrl-C.")] = None,
) -> None:
    """Keep an account with a provider topped up: once, or repeatedly with --every.

    Example: serving ledger top-up good-provider --below 1 --to 3 --every 60 --yes
    """
    user = await session.user()
    whose = session.address(provider)
    while True:
        try:
            if await user.top_up(whose, below, to, service) is None:
                session.out.line(f"Nothing to do: you can spend {describe(below)} or more with {session.name(whose)}.")
        except NodeFailure as failure:
            if every is None:
                raise
            session.out.note(f"{failure} Retrying in {every:.0f} s.", "yellow")
        if every is None:
            return
        await asyncio.sleep(every)


@app.command()
@writes
async def retrieve(
    session: Session,
    providers: Annotated[
        list[str] | None, typer.Argument(help="One or more providers.", autocompletion=complete_address)
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Retrieve from every provider.")] = False,
    service: Annotated[
        str | None, typer.Option("--service", "-s", help="Only in this service.", autocompletion=complete_service)
    ] = None,
) -> None:
    """Request refunds from providers, and collect the refunds that are unlocked.

    Run it again after the lock time: the coins then return to the ledger. Nothing is sent if nothing is left to request
    and no refund is unlocked.

    Example: serving ledger retrieve --all
    """
    if bool(providers) == everybody:
        raise InvalidInput(
            "Exactly one of PROVIDERS and --all is required.", next_step="Name one or more providers, or pass --all."
        )
    user = await session.user()
    for one in providers or ():
        if _is_amount(one) and one not in session.configuration.names():
            raise InvalidInput(
                f"{printable(one)!r} is an amount, not a provider. A refund is of the whole account.",
                next_step="Name one or more providers without an amount, or pass --all.",
            )
    chosen = [session.address(one) for one in providers] if providers else None
    before = await user.ledger(user.address)
    receipts = await user.retrieve(chosen, service)
    if not receipts:
        session.out.result({"dry_run": session.dry_run, "transactions": []})
        session.out.line("Nothing to retrieve: no coins are left to request, and no refund is unlocked.")
    if not session.dry_run:
        after = await user.ledger(user.address)
        if before is not None and after is not None and (collected := after.available - before.available):
            session.out.line(f"{rounded(collected)} returned to the ledger, {rounded(after.available)} available.")
        await _show_refunds(session, user.address, chosen, service)


def _is_amount(text: str) -> bool:
    with suppress(InvalidInput):
        parse_amount(text)
        return True
    return False


async def _show_refunds(session: Session, user: str, chosen: Sequence[str] | None, service: str | None) -> None:
    """How much each provider still holds back, until when, and what to run then."""
    network = await session.reader()
    name = (await network.service(service)).name if service else None
    now = await network.chain.timestamp()
    waiting = [
        (account, refund)
        for account in (await network.balances(user)).accounts
        if name in (None, account.service) and (chosen is None or account.provider in chosen)
        for refund in account.refunds
        if refund.unlocks_at > now
    ]
    session.beside["pending_refunds"] = [
        {
            "service": account.service,
            "provider": account.provider,
            "amount": money(refund.amount),
            "unlocks": moment(refund.unlocks_at),
        }
        for account, refund in waiting
    ]
    for account, refund in waiting:
        session.out.line(
            f"{rounded(refund.amount)} of {session.name(account.provider)}: {until(refund.unlocks_at, now)}"
        )
    if waiting:
        whom = " ".join(dict.fromkeys(account.provider for account, _ in waiting)) if chosen else "--all"
        only = f" --service {name}" if name else ""
        session.out.line(f"Then collect them: serving ledger retrieve {whom}{only}")
        session.time_travel_hint(max(refund.unlocks_at for _, refund in waiting) - now)


@app.command()
@writes
async def withdraw(session: Session, amount: AMOUNT_OR_ALL) -> None:
    """Withdraw coins from the ledger to your wallet: an amount, or all that is available.

    A ledger that is left without coins, here and with providers, is deleted with its empty accounts.

    Example: serving ledger withdraw all
    """
    user = await session.user()
    ledger = await user.ledger(user.address)
    if ledger is not None and ledger.available and (amount is ALL or amount == ledger.total):
        if ledger.with_providers:
            session.out.note(f"Left with providers: {rounded(ledger.with_providers)}. {await _to_get_it(user)}")
        else:
            least_ledger, least_transfer = await user.minimums()
            session.out.note(
                f"This deletes the ledger. To come back, open a new one with at least {describe(least_ledger)} and fund"
                f" each provider with at least {describe(least_transfer)}. Revoked tokens stay revoked."
            )
    await user.withdraw(amount)


async def _to_get_it(user: AsyncUser) -> str:
    """How the user gets what providers still have: by a request, or by collecting a refund that was requested."""
    accounts = (await user.balances(user.address)).accounts
    if any(one.balance > one.pending_refund for one in accounts):
        return "To request it: serving ledger retrieve --all"
    unlocks_at = max((refund.unlocks_at for one in accounts for refund in one.refunds), default=0)
    return f"Its refund {until(unlocks_at, await user.chain.timestamp())}. To collect it: serving ledger retrieve --all"


@app.command("describe")
@writes
async def describe_ledger(
    session: Session, info: Annotated[str, typer.Argument(help="Text of at most 4096 bytes.")]
) -> None:
    """Change the additional information that providers receive with a new account.

    Example: serving ledger describe "contact: me@example.org"
    """
    await (await session.user()).describe_ledger(info)


@app.command()
@writes
async def delete(session: Session) -> None:
    """Delete the empty ledger. Revoked tokens stay revoked if you open it again.

    Example: serving ledger delete
    """
    await (await session.user()).delete_ledger()
