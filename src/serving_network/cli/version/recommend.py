"""`serving version recommend`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.command import writes
from serving_network.cli.session import Session
from serving_network.clients.owner import AsyncOwner


@writes
async def recommend(
    session: Session,
    service_type: Annotated[str, typer.Argument(help='Such as "inference".')],
    version: Annotated[str, typer.Argument(help='Such as "v1.1".')],
) -> None:
    """For the owner: recommend one version of a service type to clients.

    Example: serving version recommend inference v1.1
    """
    owner = await session.act(AsyncOwner)
    await owner.recommend(service_type, version)
