"""`serving version register`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.command import writes
from serving_network.cli.session import Session
from serving_network.clients.owner import AsyncOwner


@writes
async def register(
    session: Session,
    service_type: Annotated[str, typer.Argument(help='Such as "inference".')],
    version: Annotated[str, typer.Argument(help='Such as "v1.1".')],
    address: Annotated[str, typer.Argument(help="The front of the service contract.")],
    description: Annotated[str, typer.Option(help="A line for people.")] = "",
) -> None:
    """For the owner: make a service contract known to the ledger, which trusts it with users' coins.

    The contract must be one of this project's services, or report what it spends by spendFund.

    Example: serving version register inference v1.1 0x0165878A594ca255338adfa4d48449f69242Eb8F
    """
    owner = await session.act(AsyncOwner)
    await owner.register_version(service_type, version, session.address(address), description)
