"""`serving signer revoke`"""

from __future__ import annotations

from serving_network.cli.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.clients.owner import AsyncOwner


@writes
async def revoke(session: Session, provider: PROVIDER, service: INFERENCE_SERVICE = "inference") -> None:
    """For the owner: take a confirmation back. From then on nothing this provider's TEE signs is paid.

    Example: serving signer revoke bad-provider
    """
    owner = await session.act(AsyncOwner)
    await owner.revoke(session.address(provider), service)
