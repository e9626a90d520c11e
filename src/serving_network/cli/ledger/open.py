"""`serving ledger open`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import AMOUNT
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def open_ledger(
    session: Session,
    amount: AMOUNT,
    info: Annotated[str, typer.Option(help="Additional information for providers, at most 4096 bytes.")] = "",
) -> None:
    """Open a ledger, from which providers are funded.

    Example: serving ledger open 3
    """
    user = await session.act(AsyncUser)
    await user.open_ledger(amount, info)
