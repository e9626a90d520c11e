"""`serving ledger deposit`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import AMOUNT
from serving_network.cli.complete import complete_address
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def deposit(
    session: Session,
    amount: AMOUNT,
    recipient: Annotated[
        str | None, typer.Option("--for", help="Whose ledger; your own by default.", autocompletion=complete_address)
    ] = None,
) -> None:
    """Put coins from the wallet into a ledger.

    Example: serving ledger deposit 1.5
    """
    user = await session.act(AsyncUser)
    await user.deposit(amount, session.address(recipient) if recipient else None)
