"""`serving ownership offer`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.command import writes
from serving_network.cli.session import Session
from serving_network.clients.owner import AsyncOwner


@writes
async def offer(
    session: Session,
    contract: Annotated[str, typer.Argument(help='"ledger", or a service.')],
    new_owner: Annotated[str, typer.Argument(help="An address or a name.")],
) -> None:
    """Offer the business ownership of a contract; nothing changes until the other side accepts.

    Example: serving ownership offer ledger foundation
    """
    owner = await session.act(AsyncOwner)
    await owner.offer_ownership(contract, session.address(new_owner))
