"""`serving settlement send`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.command import writes
from serving_network.cli.session import Session
from serving_network.cli.settlement.file import read_settlements
from serving_network.cli.settlement.preview import outcomes_as_json, show_outcomes
from serving_network.clients.provider import AsyncProvider


@writes
async def send(
    session: Session,
    file: Annotated[Path, typer.Argument(help="A JSON file of signed settlements.")],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Send settlements that the TEE signed, as the provider, 50 per transaction.

    To settle from a usage log, with a crash-safe journal, use serving settle.

    Example: serving settlement send signed.json --dry-run
    """
    provider = await session.act(AsyncProvider)
    settlements = read_settlements(file)
    if session.dry_run:
        outcomes = await provider.preview(settlements, service)
        await provider.settle(settlements, service)
    else:
        outcomes = await provider.settle(settlements, service)
    session.beside["outcomes"] = outcomes_as_json(outcomes)
    show_outcomes(session, outcomes)
