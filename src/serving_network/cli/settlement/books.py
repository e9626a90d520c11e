"""`serving settlement books`"""

from __future__ import annotations

import typer

from serving_network.cli.command import reads
from serving_network.cli.output import EXIT_CHECK_FAILED, money
from serving_network.cli.session import Session
from serving_network.cli.settlement_report import show_books
from serving_network.settlement.books import read_books


@reads
async def books(session: Session) -> None:
    """Compare what each contract holds with what it owes. The exit code is 9 if one holds less.

    Example: serving settlement books
    """
    lines = await read_books(await session.reader())
    session.out.result(
        [
            {
                "contract": line.contract,
                "address": line.address,
                "held": money(line.held),
                "owed": {name: money(amount) for name, amount in line.owed.items()},
                "surplus": money(line.surplus),
            }
            for line in lines
        ]
    )
    show_books(session.out, lines)
    if any(line.surplus < 0 for line in lines):
        raise typer.Exit(EXIT_CHECK_FAILED)
