"""`serving ledger show`"""

from __future__ import annotations

from serving_network.cli.arguments import USER_OR_SELF
from serving_network.cli.context import Session, reads
from serving_network.cli.output import money
from serving_network.contracts.errors import LedgerNotExists
from serving_network.money import describe


@reads
async def show(session: Session, user: USER_OR_SELF = None) -> None:
    """Show one ledger.

    Example: serving ledger show
    """
    whose = session.address(user) if user else session.own_address()
    ledger = await (await session.reader()).ledger(whose)
    if ledger is None:
        raise LedgerNotExists(user=whose)
    session.out.result(
        {"user": ledger.user, "available": money(ledger.available), "total": money(ledger.total), "info": ledger.info}
    )
    session.out.facts(
        {
            "user": session.name(ledger.user),
            "available": describe(ledger.available),
            "with providers": describe(ledger.with_providers),
            "total": describe(ledger.total),
            "information": ledger.info or "none",
        }
    )
