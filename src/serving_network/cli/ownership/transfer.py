"""`serving ownership transfer`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.command import writes
from serving_network.cli.session import Session
from serving_network.clients.owner import AsyncOwner


@writes
async def transfer(
    session: Session,
    contract: Annotated[str, typer.Argument(help='"ledger", or a service.')],
    new_owner: Annotated[str, typer.Argument(help="An address or a name.")],
) -> None:
    """Give the business ownership away at once, for good. A wrong address loses it: prefer an offer.

    Example: serving ownership transfer inference foundation
    """
    owner = await session.act(AsyncOwner)
    await owner.transfer_ownership(contract, session.address(new_owner))
