"""`serving ownership accept`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.command import writes
from serving_network.cli.session import Session
from serving_network.clients.owner import AsyncOwner


@writes
async def accept(
    session: Session,
    contract: Annotated[str, typer.Argument(help='"ledger", or a service.')],
) -> None:
    """Accept the business ownership that was offered to the key in use.

    Example: serving ownership accept ledger
    """
    owner = await session.act(AsyncOwner)
    await owner.accept_ownership(contract)
