"""`serving settlement preview`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.command import reads
from serving_network.cli.output import money
from serving_network.cli.session import Session
from serving_network.cli.settlement.file import read_settlements
from serving_network.clients.provider import AsyncProvider
from serving_network.money import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.clients.provider import SettlementResult


@reads
async def preview(
    session: Session,
    file: Annotated[Path, typer.Argument(help="A JSON file of signed settlements.")],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Show the result that settling signed settlements would have now, as the provider. Sends nothing.

    Example: serving settlement preview signed.json
    """
    provider = await session.act(AsyncProvider)
    outcomes = await provider.preview(read_settlements(file), service)
    session.out.result(outcomes_as_json(outcomes))
    show_outcomes(session, outcomes)


def show_outcomes(session: Session, outcomes: Sequence[SettlementResult]) -> None:
    """Print the outcome of each entry and the totals."""
    session.out.table(
        ("user", "status", "fee", "paid", "unsettled"),
        [
            (
                session.name(one.user),
                one.status.name.lower().replace("_", " "),
                describe(one.fee),
                describe(one.paid),
                describe(one.unsettled),
            )
            for one in outcomes
        ],
        empty="There are no settlements.",
    )
    paid, unsettled = sum(one.paid for one in outcomes), sum(one.unsettled for one in outcomes)
    session.out.line(f"Total  {describe(paid)} paid, {describe(unsettled)} unsettled")


def outcomes_as_json(outcomes: Sequence[SettlementResult]) -> list[dict[str, Any]]:
    """The outcomes as JSON."""
    return [
        {
            "user": one.user,
            "status": one.status.name,
            "fee": money(one.fee),
            "paid": money(one.paid),
            "unsettled": money(one.unsettled),
        }
        for one in outcomes
    ]
