# SPDX-License-Identifier: Apache-2.0
"""`serving setting`: what the owner of the contracts has set."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from serving_network.cli.console.arguments import FINE_TUNING_SERVICE, INFERENCE_SERVICE
from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import parse_span
from serving_network.counting import span
from serving_network.errors import InvalidInput
from serving_network.money import describe
from serving_network.untrusted import printable

app = typer.Typer(help="Show the network's settings, and change them as the owner of a service.")


@app.command()
@reads
async def show(session: Session, service: INFERENCE_SERVICE = "inference") -> None:
    """Show the owners, minimum amounts, lock time and penalty.

    Example: serving setting show
    """
    network = await session.reader()
    found = await network.service(service)
    settings = await network.settings(service)
    least_ledger, least_transfer = await network.minimums()
    ledger_owner = await network.ledger_contract.read("owner")
    session.out.result(
        {
            "ledger": {
                "address": network.ledger_contract.address,
                "owner": ledger_owner,
                "minimum_deposit": money(least_ledger),
                "minimum_transfer": money(least_transfer),
            },
            "service": {
                "name": found.name,
                "address": found.address,
                "owner": settings["owner"],
                "lock_time_seconds": settings["lockTime"],
                "provider_stake": money(settings["MIN_PROVIDER_STAKE"]),
                "penalty_percent": settings.get("penaltyPercentage"),
            },
        }
    )
    facts = {
        "ledger": network.ledger_contract.address,
        "ledger owner": session.name(ledger_owner),
        "minimum to open a ledger": describe(least_ledger),
        "minimum to fund a new provider": describe(least_transfer),
        "service": f"{found.name} {found.address}",
        "service owner": session.name(settings["owner"]),
        "lock time": span(settings["lockTime"]),
        "provider stake": describe(settings["MIN_PROVIDER_STAKE"]),
    }
    if "penaltyPercentage" in settings:
        facts["penalty"] = f"{settings['penaltyPercentage']} %"
    session.out.facts(facts)


def _lock_time(text: str) -> int:
    """The seconds of a lock time; a number alone is in hours. Raises InvalidInput."""
    try:
        return int(Decimal(text) * 3600)
    except (InvalidOperation, OverflowError, ValueError):
        return parse_span(text)


def _percent(text: str) -> int:
    """A whole number of percent, with or without its sign. Raises InvalidInput."""
    number = text.removesuffix("%").strip()
    if not number.isdecimal():
        raise InvalidInput(
            f"{printable(text)!r} is not a whole number of percent.", next_step="Write one from 0 to 100."
        )
    return int(number)


@app.command("lock-time")
@writes
async def lock_time(
    session: Session,
    time: Annotated[
        list[str], typer.Argument(metavar="TIME", help='1 hour to 7 days: "24" (hours), "1 day" or "90 min".')
    ],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Change how long refunds stay locked. Applies to pending refunds, too.

    Example: serving setting lock-time 24
    """
    owner = await session.owner()
    await owner.set_lock_time(_lock_time(" ".join(time)), service)


@app.command()
@writes
async def penalty(
    session: Session,
    percent: Annotated[int, typer.Argument(parser=_percent, metavar="PERCENT", help="0 to 100.")],
    service: FINE_TUNING_SERVICE = "fine-tuning",
) -> None:
    """Change the share of the fee that is due for a deliverable the user did not acknowledge.

    Example: serving setting penalty 30
    """
    owner = await session.owner()
    await owner.set_penalty(percent, service)
