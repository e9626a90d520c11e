"""`serving signer confirm`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.clients.owner import AsyncOwner
from serving_network.networks import parse_address


@writes
async def confirm(
    session: Session,
    provider: PROVIDER,
    expect: Annotated[
        str | None, typer.Option(help="The signer that you examined; by default the one registered now.")
    ] = None,
    service: INFERENCE_SERVICE = "inference",
    shared: Annotated[bool, typer.Option(help="Also a signer that another provider has registered.")] = False,
) -> None:
    """For the owner: confirm a provider's TEE signer, so that its settlements are paid.

    The contract refuses when the provider has swapped the signer in the meantime.

    Example: serving signer confirm good-provider --expect 0x70997970C51812dc3A010C7d01b50e0d17dc79C8
    """
    owner = await session.act(AsyncOwner)
    expected = parse_address(expect) if expect else None
    await owner.confirm(session.address(provider), service, signer=expected, shared=shared)
