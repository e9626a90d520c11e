"""`serving account acknowledge`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def acknowledge(
    session: Session,
    provider: PROVIDER,
    service: INFERENCE_SERVICE = "inference",
    revoke: Annotated[bool, typer.Option("--revoke", help="Take it back; the account must be empty.")] = False,
) -> None:
    """Confirm a provider's TEE signer, so that it may charge your account. Funding a provider does this too.

    Example: serving account acknowledge good-provider
    """
    user = await session.act(AsyncUser)
    await user.acknowledge(session.address(provider), service, acknowledged=not revoke)
