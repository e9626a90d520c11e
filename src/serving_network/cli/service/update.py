"""`serving service update`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, writes
from serving_network.cli.service.offer_file import changed, read_offer
from serving_network.clients.provider import AsyncProvider
from serving_network.contracts.errors import ServiceNotExist
from serving_network.errors import InvalidInput


@writes
async def update(
    session: Session,
    offer: Annotated[Path | None, typer.Argument(help="A TOML file that describes the whole service.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help='One field, such as --set "input_price=100 wei". Repeat at will.')
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Change the registered service. Says beforehand whether the owner must confirm its TEE signer again.

    Example: serving service update --set url=https://new.example
    """
    provider = await session.act(AsyncProvider)
    if offer is not None:
        new = read_offer(offer, service)
    else:
        registered = await provider.offer(provider.address, service)
        if registered is None:
            raise ServiceNotExist(provider=provider.address)
        new = registered.offer
    new = changed(new, dict(_assignment(one) for one in changes or ()))
    lost = await provider.update_costs(new, service)
    if lost:
        session.out.note(
            f"Note: the owner must confirm the TEE signer again, because these change: {', '.join(lost)}. "
            "Until then nothing can be settled.",
            "yellow",
        )
    await provider.update(new, service)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"{text!r} sets nothing.", next_step='Write --set "url=https://new.example", for example.')
    return name.strip(), value.strip()
