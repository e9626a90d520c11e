"""`serving deliverable acknowledge`"""

from __future__ import annotations

from serving_network.cli.arguments import DELIVERABLE_ID, FINE_TUNING_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def acknowledge(
    session: Session,
    provider: PROVIDER,
    deliverable_id: DELIVERABLE_ID,
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """For the user: accept a fine-tuned model. The provider is then paid in full and hands over its secret.

    Example: serving deliverable acknowledge good-provider task-1
    """
    user = await session.act(AsyncUser)
    await user.acknowledge_deliverable(session.address(provider), deliverable_id, service)
