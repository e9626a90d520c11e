"""`serving ledger withdraw`"""

from __future__ import annotations

from serving_network.cli.arguments import AMOUNT_OR_ALL
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser


@writes
async def withdraw(session: Session, amount: AMOUNT_OR_ALL) -> None:
    """Take coins from the ledger into the wallet: exactly so many, or all that is available.

    Example: serving ledger withdraw all
    """
    user = await session.act(AsyncUser)
    await user.withdraw(amount)
