"""`serving ledger retrieve`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.complete import complete_address, complete_service
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser
from serving_network.errors import InvalidInput


@writes
async def retrieve(
    session: Session,
    providers: Annotated[
        list[str] | None, typer.Argument(help="From whom; any number.", autocompletion=complete_address)
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="From every provider.")] = False,
    service: Annotated[
        str | None, typer.Option("--service", "-s", help="Only in this service.", autocompletion=complete_service)
    ] = None,
) -> None:
    """Ask coins back from providers. Run it again after the lock time: then they come home.

    Example: serving ledger retrieve --all
    """
    if bool(providers) == everybody:
        raise InvalidInput("From whom?", next_step="Name providers, or say --all.")
    user = await session.act(AsyncUser)
    chosen = [session.address(one) for one in providers] if providers else None
    if not await user.retrieve(chosen, service):
        session.out.line("There is nothing to retrieve: you have no account with any provider.")
