"""`serving setting lock-time`"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, writes
from serving_network.clients.owner import AsyncOwner


@writes
async def lock_time(
    session: Session,
    hours: Annotated[Decimal, typer.Argument(parser=Decimal, help="1 to 168.")],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """For the owner: change how long coins take to come home; it counts for pending refunds at once.

    Example: serving setting lock-time 24
    """
    owner = await session.act(AsyncOwner)
    await owner.set_lock_time(int(hours * 3600), service)
