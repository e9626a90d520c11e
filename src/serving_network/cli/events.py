"""`serving events`"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.context import Session, plain, reads

if TYPE_CHECKING:
    from serving_network.clients.read.events import Event


@reads
async def events(
    session: Session,
    from_block: Annotated[int, typer.Option(min=0, help="The first block.")] = 0,
    to_block: Annotated[int | None, typer.Option(min=0, help="The last block; the newest by default.")] = None,
    about: Annotated[str | None, typer.Option(help="Only events that name this address.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones, until Ctrl-C.")] = False,
    confirmations: Annotated[int, typer.Option(min=0, help="Wait until a block is so deep.")] = 0,
) -> None:
    """Print what the ledger and the services told, one event a line; with --json one JSON object a line.

    With --follow it goes on over a node that drops out, without gaps or doubles.

    Example: serving events --about good-provider --follow
    """
    network = await session.reader()
    whose = session.address(about) if about else None
    if not follow:
        for event in await network.past_events(from_block=from_block, to_block=to_block, involving=whose):
            _print(session, event)
        return
    async for event in network.events(from_block=from_block, involving=whose, confirmations=confirmations):
        _print(session, event)


def _print(session: Session, event: Event) -> None:
    arguments = {name: plain(value) for name, value in event.args.items()}
    told = {
        "block": event.block_number,
        "transaction": event.transaction_hash,
        "log": event.log_index,
        "contract": event.contract,
        "address": event.address,
        "event": event.name,
        "arguments": arguments,
        "removed": event.removed,
    }
    session.out.entry(told)
    undone = "undone  " if event.removed else ""
    words = "  ".join(
        f"{name}={json.dumps(value) if isinstance(value, (list, dict)) else value}" for name, value in arguments.items()
    )
    session.out.line(f"{undone}{event.block_number}  {event.contract}.{event.name}  {words}")
