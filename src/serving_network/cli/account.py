# SPDX-License-Identifier: Apache-2.0
"""`serving account`: users' accounts with providers, and everything that a user owns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from serving_network.cli.console.arguments import INFERENCE_SERVICE, PROVIDER, USER_OR_SELF
from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.complete import complete_address
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import moment, until
from serving_network.cli.console.values import values_as_text
from serving_network.errors import NodeFailure
from serving_network.money import rounded

if TYPE_CHECKING:
    from serving_network.clients.read.events import Event
    from serving_network.contracts.models import Account, Balances

app = typer.Typer(help="Show and watch what a user owns: wallet, ledger, accounts with providers, refunds.")

EVENTS_SHOWN = 10


@app.command()
@reads
async def show(session: Session, user: USER_OR_SELF = None) -> None:
    """Show everything that a user owns, as a tree: wallet, ledger, accounts with providers, pending refunds.

    Example: serving account show
    """
    network = await session.reader()
    balances = await network.balances(session.address_or_own(user))
    now = await network.chain.timestamp()
    ledger = balances.ledger
    session.out.result(
        {
            "user": balances.user,
            "wallet": money(balances.wallet),
            "ledger": None
            if ledger is None
            else {"available": money(ledger.available), "total": money(ledger.total), "info": ledger.info},
            "accounts": [_as_json(one) for one in balances.accounts],
            "total": money(balances.total),
        }
    )
    _print_tree(session, balances, now)
    unlocks = [refund.unlocks_at for account in balances.accounts for refund in account.refunds]
    session.time_travel_hint(min((when - now for when in unlocks if when > now), default=0))


@app.command()
@reads
async def watch(
    session: Session,
    user: USER_OR_SELF = None,
    every: Annotated[float, typer.Option(min=0.2, help="Poll every N seconds.")] = 2.0,
    times: Annotated[int | None, typer.Option(min=1, help="Stop after N polls.")] = None,
) -> None:
    """Keep a user's or provider's balances and latest events on screen, until Ctrl-C.

    In a pipe, and with --json, it prints a line for each change.

    To list the network's events: serving events

    Example: serving account watch good-provider
    """
    whose = session.address_or_own(user)
    network = await session.reader()
    following = await network.chain.block_number() + 1
    news: list[Event] = []
    polls = 0
    console = Console()
    with (
        Live(console=console, auto_refresh=False, transient=False)
        if console.is_terminal and not session.out.as_json
        else _Lines(session) as view
    ):
        while True:
            try:
                head = await network.chain.block_number()
                if head >= following:
                    news += await network.past_events(from_block=following, to_block=head, involving=whose)
                    following = head + 1
                balances = await network.balances(whose)
                now = await network.chain.timestamp()
                view.update(_picture(session, balances, news, now, head), refresh=True)
                if isinstance(view, _Lines):
                    view.print(balances, head)
            except NodeFailure as failure:
                session.out.note(f"{failure} Retrying in {every:g} s.", "yellow")
            polls += 1
            if session.out.closed or (times is not None and polls >= times):
                return
            await asyncio.sleep(every)


@app.command("list")
@reads
async def list_accounts(
    session: Session,
    user: Annotated[str | None, typer.Option(help="Only of this user.", autocompletion=complete_address)] = None,
    provider: Annotated[
        str | None, typer.Option(help="Only with this provider.", autocompletion=complete_address)
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """List the accounts of a service: all of them, or those of a user or with a provider.

    Example: serving account list --provider good-provider
    """
    network = await session.reader()
    accounts = await network.accounts(
        user=session.address(user) if user else None,
        provider=session.address(provider) if provider else None,
        service=service,
    )
    session.out.result([_as_json(one) for one in accounts])
    session.out.table(
        ("user", "provider", "balance", "pending refund", "acknowledged"),
        [
            (
                session.name(one.user),
                session.name(one.provider),
                rounded(one.balance),
                rounded(one.pending_refund),
                "yes" if one.acknowledged else "no",
            )
            for one in accounts
        ],
        empty="There are no such accounts.",
    )


@app.command()
@writes
async def acknowledge(
    session: Session,
    provider: PROVIDER,
    service: INFERENCE_SERVICE = "inference",
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Revoke the acknowledgement. The account must be empty.")
    ] = False,
) -> None:
    """Acknowledge a provider's TEE signer, so that it may charge your account. Funding a provider does this too.

    Example: serving account acknowledge good-provider
    """
    user = await session.user()
    await user.acknowledge(session.address(provider), service, acknowledged=not revoke)


def _as_json(account: Account) -> dict[str, Any]:
    return {
        "service": account.service,
        "user": account.user,
        "provider": account.provider,
        "balance": money(account.balance),
        "pending_refund": money(account.pending_refund),
        "spendable": money(account.spendable),
        "refunds": [
            {"amount": money(one.amount), "asked": moment(one.created_at), "unlocks": moment(one.unlocks_at)}
            for one in account.refunds
        ],
        "acknowledged": account.acknowledged,
        "nonce": str(account.nonce),
        "generation": account.generation,
        "deliverables": account.deliverables,
    }


def _print_tree(session: Session, balances: Balances, now: int) -> None:
    out = session.out
    out.line(session.name(balances.user), "bold")
    out.line(f"├── wallet      {rounded(balances.wallet)}")
    if balances.ledger is None:
        out.line("├── no ledger; open one with: serving ledger open AMOUNT")
    else:
        out.line(f"├── available   {rounded(balances.ledger.available)}")
    for account in balances.accounts:
        out.line(f"├── {account.service}  {session.name(account.provider)}")
        out.line(f"│   ├── balance     {rounded(account.balance)}")
        if not account.acknowledged:
            out.line("│   ├── TEE signer not acknowledged: the provider cannot be paid")
        for refund in account.refunds:
            out.line(f"│   ├── refund      {rounded(refund.amount)}, {until(refund.unlocks_at, now)}")
        out.line(f"│   └── spendable   {rounded(account.spendable)}")
    out.line(f"└── total       {rounded(balances.total)}")


class _Lines:
    """The view for pipes: a line for each change."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: Balances | None = None

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *ending: object) -> None:
        """Nothing is held."""

    def update(self, picture: Group, *, refresh: bool) -> None:
        """Pictures are for terminals only."""

    def print(self, balances: Balances, head: int) -> None:
        """Print one line if anything has changed since the last one."""
        if balances == self._last:
            return
        self._last = balances
        self._session.out.entry(
            {
                "block": head,
                "wallet": money(balances.wallet),
                "available": money(balances.ledger.available) if balances.ledger else None,
                "accounts": [_as_json(one) for one in balances.accounts],
                "total": money(balances.total),
            }
        )
        available = rounded(balances.ledger.available) if balances.ledger else "no ledger"
        self._session.out.line(
            f"{head}\t{rounded(balances.wallet)}\t{available}\t"
            + "\t".join(f"{one.provider}={rounded(one.balance)}" for one in balances.accounts)
        )


def _picture(session: Session, balances: Balances, news: list[Event], now: int, head: int) -> Group:
    lines = [f"wallet     {rounded(balances.wallet)}"]
    if balances.ledger is not None:
        lines.append(f"available  {rounded(balances.ledger.available)}")
    for account in balances.accounts:
        lines.append(f"{account.service}  {session.name(account.provider)}  {rounded(account.balance)}")
        lines += [f"    refund of {rounded(one.amount)}, {until(one.unlocks_at, now)}" for one in account.refunds]
    lines.append("")
    lines += [
        f"{event.block_number}  {event.name}  {values_as_text(session.configuration.name_of, event.args)}"
        for event in news[-EVENTS_SHOWN:]
    ]
    title = Text(f"{session.name(balances.user)}  block {head}", style="bold")
    return Group(title, *map(Text, lines))
