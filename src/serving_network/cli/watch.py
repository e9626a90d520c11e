"""`serving watch`"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from serving_network.cli.account.show import account_as_json
from serving_network.cli.arguments import USER_OR_SELF
from serving_network.cli.context import Session, reads
from serving_network.cli.output import money
from serving_network.cli.times import until
from serving_network.errors import NodeFailure
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.clients.read.events import Event
    from serving_network.contracts.models import Balances

EVENTS_SHOWN = 10


@reads
async def watch(
    session: Session,
    user: USER_OR_SELF = None,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    times: Annotated[int | None, typer.Option(min=1, help="Look so many times, then end.")] = None,
) -> None:
    """Watch balances and settlements in the terminal, until Ctrl-C; works for users and providers.

    In a pipe, or with --json, it prints a line for each change.

    Example: serving watch good-provider
    """
    whose = session.address(user) if user else session.own_address()
    network = await session.reader()
    following = await network.chain.block_number() + 1
    news: list[Event] = []
    looks = 0
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
                now = int((await network.chain.block())["timestamp"], 16)
                view.update(_picture(session, balances, news, now, head), refresh=True)
                if isinstance(view, _Lines):
                    view.tell(balances, head)
            except NodeFailure as failure:
                session.out.note(f"{failure} Looking again in {every:g} s.", "yellow")
            looks += 1
            if times is not None and looks >= times:
                return
            await asyncio.sleep(every)


class _Lines:
    """The view for pipes: a line whenever something has changed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: Balances | None = None

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *ending: object) -> None:
        """Nothing is held."""

    def update(self, picture: Group, *, refresh: bool) -> None:
        """A pipe gets no pictures."""

    def tell(self, balances: Balances, head: int) -> None:
        """One line, if anything is different from the last one."""
        if balances == self._last:
            return
        self._last = balances
        self._session.out.entry(
            {
                "block": head,
                "wallet": money(balances.wallet),
                "available": money(balances.ledger.available) if balances.ledger else None,
                "accounts": [account_as_json(one) for one in balances.accounts],
                "total": money(balances.total),
            }
        )
        available = describe(balances.ledger.available) if balances.ledger else "no ledger"
        self._session.out.line(
            f"{head}\t{describe(balances.wallet)}\t{available}\t"
            + "\t".join(f"{one.provider}={describe(one.balance)}" for one in balances.accounts)
        )


def _picture(session: Session, balances: Balances, news: list[Event], now: int, head: int) -> Group:
    lines = [Text(f"{session.name(balances.user)}  block {head}", style="bold")]
    lines.append(Text(f"wallet     {describe(balances.wallet)}"))
    if balances.ledger is not None:
        lines.append(Text(f"available  {describe(balances.ledger.available)}"))
    for account in balances.accounts:
        lines.append(Text(f"{account.service}  {session.name(account.provider)}  {describe(account.balance)}"))
        lines += [
            Text(f"    {describe(one.amount)} asked back, {until(one.unlocks_at, now)}") for one in account.refunds
        ]
    lines.append(Text(""))
    lines += [
        Text(
            f"{event.block_number}  {event.name}  " + "  ".join(f"{name}={value}" for name, value in event.args.items())
        )
        for event in news[-EVENTS_SHOWN:]
    ]
    return Group(*lines)
