"""`serving token revoke`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def revoke(
    session: Session,
    provider: PROVIDER,
    token_ids: Annotated[list[int], typer.Argument(min=0, max=255, metavar="ID...", help="One id or more.")],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Revoke API keys by their ids, for ever.

    Example: serving token revoke good-provider 3
    """
    user = await session.act(AsyncUser)
    await user.revoke_tokens(session.address(provider), token_ids, service)
