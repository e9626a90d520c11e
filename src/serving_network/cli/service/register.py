"""`serving service register`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import AMOUNT_HELP, INFERENCE_SERVICE
from serving_network.cli.context import Session, writes
from serving_network.cli.service.offer_file import read_offer
from serving_network.clients.provider import AsyncProvider
from serving_network.money import parse_wei


@writes
async def register(
    session: Session,
    offer: Annotated[Path, typer.Argument(help="A TOML file that describes the service; see the guide for providers.")],
    stake: Annotated[
        int | None, typer.Option(parser=parse_wei, metavar="AMOUNT", help=f"The least that is taken. {AMOUNT_HELP}")
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Register as a provider, with a stake that comes back when the service is removed.

    The owner must then confirm the TEE signer before anything can be settled.

    Example: serving service register offer.toml
    """
    provider = await session.act(AsyncProvider)
    await provider.register(read_offer(offer, service), stake, service)
    if not session.dry_run:
        session.out.line("The network's owner must now confirm the TEE signer: serving service show")
