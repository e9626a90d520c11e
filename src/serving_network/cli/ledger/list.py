"""`serving ledger list`"""

from __future__ import annotations

from serving_network.cli.context import Session, reads
from serving_network.cli.output import money
from serving_network.money import describe


@reads
async def list_ledgers(session: Session) -> None:
    """List all ledgers of the network.

    Example: serving ledger list --json
    """
    ledgers = await (await session.reader()).ledgers()
    session.out.result(
        [{"user": one.user, "available": money(one.available), "total": money(one.total)} for one in ledgers]
    )
    session.out.table(
        ("user", "available", "with providers", "total"),
        [
            (session.name(one.user), describe(one.available), describe(one.with_providers), describe(one.total))
            for one in ledgers
        ],
        empty="Nobody has a ledger yet.",
    )
