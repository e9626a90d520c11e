"""`serving ledger fund`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import AMOUNT, INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.cli.times import span
from serving_network.clients.user import AsyncUser
from serving_network.money import describe


@writes
async def fund(
    session: Session,
    provider: PROVIDER,
    amount: AMOUNT,
    service: INFERENCE_SERVICE = "inference",
    even_unregistered: Annotated[
        bool, typer.Option("--even-unregistered", help="Also an address that has registered no service.")
    ] = False,
) -> None:
    """Move coins from the ledger to the account with a provider, and acknowledge its TEE signer.

    Example: serving ledger fund good-provider 2
    """
    user = await session.act(AsyncUser)
    whose = session.address(provider)
    check = await user.check_funding(whose, amount, service)
    if check.obstacle is not None and not (check.offer is None and even_unregistered):
        raise check.obstacle
    for warning in check.warnings:
        session.out.note(f"Note: {warning}", "yellow")
    session.out.note(
        f"{describe(check.moved)} leave the ledger, which has {describe(check.available)} available. "
        f"Coins that are asked back come home after {span(check.locked_for)}."
    )
    await user.fund(whose, amount, service, even_unregistered=even_unregistered)
