"""`serving ownership renounce`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.command import writes
from serving_network.cli.session import Session
from serving_network.clients.owner import AsyncOwner


@writes
async def renounce(
    session: Session,
    contract: Annotated[str, typer.Argument(help='"ledger", or a service.')],
) -> None:
    """Leave a contract without an owner for ever: no signer is confirmed or revoked after that.

    Example: serving ownership renounce inference --dry-run
    """
    owner = await session.act(AsyncOwner)
    await owner.renounce_ownership(contract)
