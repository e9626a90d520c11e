"""`serving token revoke-all`"""

from __future__ import annotations

from serving_network.cli.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def revoke_all(session: Session, provider: PROVIDER, service: INFERENCE_SERVICE = "inference") -> None:
    """Revoke every token for a provider, sessions too. All ids are free again afterwards.

    Example: serving token revoke-all good-provider
    """
    user = await session.act(AsyncUser)
    await user.revoke_all_tokens(session.address(provider), service)
