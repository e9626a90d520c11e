"""`serving setting penalty`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.context import Session, writes
from serving_network.clients.owner import AsyncOwner


@writes
async def penalty(
    session: Session,
    percent: Annotated[int, typer.Argument(help="0 to 100.")],
    service: Annotated[str, typer.Option("--service", "-s", help="A fine-tuning service.")] = "fine-tuning",
) -> None:
    """For the owner: change the part of the fee that is due for a deliverable nobody accepted.

    Example: serving setting penalty 30
    """
    owner = await session.act(AsyncOwner)
    await owner.set_penalty(percent, service)
