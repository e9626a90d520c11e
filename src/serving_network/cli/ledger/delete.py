"""`serving ledger delete`"""

from __future__ import annotations

from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def delete(session: Session) -> None:
    """Delete the empty ledger. What was revoked stays revoked when it is opened again.

    Example: serving ledger delete
    """
    user = await session.act(AsyncUser)
    await user.delete_ledger()
