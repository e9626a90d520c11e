# SPDX-License-Identifier: Apache-2.0
"""`serving health`"""

from typing import Annotated

import typer

from serving_network.cli.console.command import reads
from serving_network.cli.console.output import EXIT_CHECK_FAILED, money
from serving_network.cli.console.session import Session
from serving_network.cli.files.networks import DEFAULT_FILES, FILES, record_of
from serving_network.money import rounded


@reads
async def health(
    session: Session,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 9 for warnings, too.")] = False,
    metrics: Annotated[bool, typer.Option("--prometheus", help="Print metrics for Prometheus.")] = False,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Check the network's health: owners and code as recorded, books balanced, services that answer.

    Exits with code 9 for a failure, which may put money at risk, and with --strict also for a warning.

    Example: serving health --network testnet --prometheus > /var/lib/node_exporter/serving.prom
    """
    from serving_network.deployment.health import Level, examine, prometheus

    found = await examine(await session.chain(), record_of(session, files).record)
    session.out.result(
        {
            "level": found.level.name.lower(),
            "block": found.block,
            "symptoms": [
                {"level": one.level.name.lower(), "check": one.check, "subject": one.subject, "says": one.says}
                for one in found.symptoms
            ],
            "books": None
            if found.books is None
            else {
                "available": money(found.books.available),
                "in_accounts": money(found.books.in_accounts),
                "total": money(found.books.total),
            },
        }
    )
    if metrics:
        session.out.document(prometheus(found))
    else:
        for one in found.symptoms:
            session.out.line(f"{one.level.name.lower():<8} {one.subject}: {one.says}")
        if found.books is not None:
            session.out.line(
                f"Block {found.block}: {_users_have(found.books.ledgers)} {rounded(found.books.total)}, "
                f"{rounded(found.books.available)} available and {rounded(found.books.in_accounts)} in accounts."
            )
        session.out.line(
            {
                Level.WELL: "The network is healthy.",
                Level.WARNING: "Warnings found.",
                Level.FAILURE: "Failures found: money may be at risk.",
            }[found.level]
        )
    if found.level is Level.FAILURE or (strict and found.level is Level.WARNING):
        raise typer.Exit(EXIT_CHECK_FAILED)


def _users_have(number: int) -> str:
    return "1 user has" if number == 1 else f"{number} users have"
