"""`serving ledger top-up`"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from serving_network.cli.arguments import AMOUNT_HELP, INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, writes
from serving_network.clients.user import AsyncUser
from serving_network.errors import NodeFailure
from serving_network.money import describe, parse_wei


@writes
async def top_up(
    session: Session,
    provider: PROVIDER,
    below: Annotated[int, typer.Option(parser=parse_wei, metavar="AMOUNT", help=f"Act below this. {AMOUNT_HELP}")],
    to: Annotated[int, typer.Option(parser=parse_wei, metavar="AMOUNT", help=f"Fill up to this. {AMOUNT_HELP}")],
    service: INFERENCE_SERVICE = "inference",
    every: Annotated[float | None, typer.Option(min=1, help="Look again after so many seconds, until Ctrl-C.")] = None,
) -> None:
    """Keep an account with a provider topped up: once, or again and again.

    Example: serving ledger top-up good-provider --below 1 --to 3 --every 60 --yes
    """
    user = await session.act(AsyncUser)
    whose = session.address(provider)
    while True:
        try:
            if await user.top_up(whose, below, to, service) is None:
                session.out.line(f"Nothing to do: at least {describe(below)} can be spent with {session.name(whose)}.")
        except NodeFailure as failure:
            if every is None:
                raise
            session.out.note(f"{failure} Looking again in {every:.0f} s.", "yellow")
        if every is None:
            return
        await asyncio.sleep(every)
