# SPDX-License-Identifier: Apache-2.0
"""`serving events`: the log of the network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.command import reads
from serving_network.cli.complete import complete_address
from serving_network.cli.sending import plain
from serving_network.cli.session import Session

if TYPE_CHECKING:
    from serving_network.clients.read.events import Event


@reads
async def events(
    session: Session,
    from_block: Annotated[int, typer.Option(min=0, help="The first block.")] = 0,
    to_block: Annotated[int | None, typer.Option(min=0, help="The last block. Default: the newest.")] = None,
    about: Annotated[
        str | None, typer.Option(help="Only events that name this address.", autocompletion=complete_address)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new events, until Ctrl-C.")] = False,
    confirmations: Annotated[int, typer.Option(min=0, help="With --follow, wait until a block is this deep.")] = 0,
) -> None:
    """List the events of the ledger and the services, one per line; with --json one JSON object per line.

    With --follow, no event is lost or repeated if the node is unreachable for a while.

    To keep balances on screen: serving account watch

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
    entry = {
        "block": event.block_number,
        "transaction": event.transaction_hash,
        "log": event.log_index,
        "contract": event.contract,
        "address": event.address,
        "event": event.name,
        "arguments": arguments,
        "removed": event.removed,
    }
    session.out.entry(entry)
    removed = "removed  " if event.removed else ""
    shown = "  ".join(f"{name}={_value(value)}" for name, value in arguments.items())
    session.out.line(f"{removed}{event.block_number}  {event.contract}.{event.name}  {shown}")


def _value(value: Any) -> str:
    """A value as one word, or quoted: a text of a stranger may contain what looks like more arguments."""
    if isinstance(value, (list, dict)) or (isinstance(value, str) and (" " in value or not value.isprintable())):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
