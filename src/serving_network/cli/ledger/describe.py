"""`serving ledger describe`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def describe_ledger(
    session: Session, info: Annotated[str, typer.Argument(help="At most 4096 bytes of text.")]
) -> None:
    """Change the additional information that providers get with a new account.

    Example: serving ledger describe "contact: me@example.org"
    """
    user = await session.act(AsyncUser)
    await user.describe_ledger(info)
