"""`serving service remove`"""

from __future__ import annotations

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, writes
from serving_network.clients.provider import AsyncProvider
from serving_network.money import describe


@writes
async def remove(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """Remove the service and get the stake back. Settle first: afterwards nothing can be settled.

    Example: serving service remove --dry-run
    """
    provider = await session.act(AsyncProvider)
    accounts = await provider.open_accounts(service)
    held = sum(one.balance for one in accounts)
    if held:
        session.out.note(
            f"Note: users still have {describe(held)} with you (accounts: {len(accounts)}). "
            "Work of theirs that is not settled now is never paid: serving settle USAGE",
            "yellow",
        )
    await provider.remove(service)
