"""`serving deliverable add`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import DELIVERABLE_ID, FINE_TUNING_SERVICE, USER, parse_data
from serving_network.cli.context import Session, writes
from serving_network.clients.provider import AsyncProvider


@writes
async def add(
    session: Session,
    user: USER,
    deliverable_id: DELIVERABLE_ID,
    model_root_hash: Annotated[bytes, typer.Argument(parser=parse_data, metavar="HASH", help="0x and digits.")],
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """For the provider: hand over a fine-tuned model.

    Example: serving deliverable add a-user task-1 0x6d6f64656c
    """
    provider = await session.act(AsyncProvider)
    await provider.add_deliverable(session.address(user), deliverable_id, model_root_hash, service)
