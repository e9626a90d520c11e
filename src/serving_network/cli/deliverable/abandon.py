"""`serving deliverable abandon`"""

from __future__ import annotations

from serving_network.cli.arguments import DELIVERABLE_ID, FINE_TUNING_SERVICE, USER
from serving_network.cli.context import Session, writes
from serving_network.clients.provider import AsyncProvider


@writes
async def abandon(
    session: Session, user: USER, deliverable_id: DELIVERABLE_ID, service: FINE_TUNING_SERVICE = "fine-tuning"
) -> None:
    """For the provider: give up a deliverable without pay, to make way for the next one.

    Example: serving deliverable abandon a-user task-1
    """
    provider = await session.act(AsyncProvider)
    await provider.abandon_deliverable(session.address(user), deliverable_id, service)
