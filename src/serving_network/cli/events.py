# SPDX-License-Identifier: Apache-2.0
"""`serving events`: the log of the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.command import reads
from serving_network.cli.console.complete import complete_address
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time
from serving_network.cli.console.values import values_as_json, values_as_text

if TYPE_CHECKING:
    from serving_network.clients.read.events import Event
    from serving_network.clients.read.network import AsyncNetwork

EVENTS_AT_ONCE = 100


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
    times = _Times(network)
    if not follow:
        found = await network.past_events(from_block=from_block, to_block=to_block, involving=whose)
        for start in range(0, len(found), EVENTS_AT_ONCE):
            part = found[start : start + EVENTS_AT_ONCE]
            if not session.out.as_json:
                await times.read({one.block_number for one in part})
            for event in part:
                _print(session, event, times)
                if session.out.closed:
                    return
        return
    async for event in network.events(from_block=from_block, involving=whose, confirmations=confirmations):
        if not session.out.as_json:
            await times.read({event.block_number})
        _print(session, event, times)
        if session.out.closed:
            return


class _Times:
    """When the blocks were made, in seconds since 1970, each asked for once."""

    def __init__(self, network: AsyncNetwork) -> None:
        self._chain = network.chain
        self.of: dict[int, int] = {}

    async def read(self, blocks: set[int]) -> None:
        """Read the times of these blocks. That of a block that is gone stays unknown."""
        from serving_network.chain.node import from_quantity

        wanted = sorted(blocks - self.of.keys())
        if not wanted:
            return
        answers = await self._chain.batch([("eth_getBlockByNumber", [hex(number), False]) for number in wanted])
        for number, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, dict):
                self.of[number] = from_quantity(answer.get("timestamp"))


def _print(session: Session, event: Event, times: _Times) -> None:
    session.out.entry(
        {
            "block": event.block_number,
            "transaction": event.transaction_hash,
            "log": event.log_index,
            "contract": event.contract,
            "address": event.address,
            "event": event.name,
            "arguments": values_as_json(event.args),
            "removed": event.removed,
        }
    )
    if session.out.as_json:
        return
    removed = "removed  " if event.removed else ""
    made = times.of.get(event.block_number)
    when = "" if made is None else f"{local_time(made)}  "
    what = f"{event.contract}.{event.name}  {values_as_text(session.configuration.name_of, event.args)}"
    session.out.line(f"{removed}{event.block_number}  {when}{what}")
