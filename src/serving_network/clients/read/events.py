# SPDX-License-Identifier: Apache-2.0
"""Events in the order of the chain: past events as a list, new events as a stream."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from serving_network.chain.node import from_quantity
from serving_network.errors import NodeFailure, WrongChain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from serving_network.chain.contract import Contract
    from serving_network.chain.node import AsyncNode

log = logging.getLogger(__name__)

BLOCKS_AT_ONCE = 2_000
BLOCKS_REMEMBERED = 128  # the depth to which a reorganisation is noticed


@dataclass(frozen=True)
class Event:
    """An event of a contract. `removed` means that its block is no longer part of the chain."""

    contract: str
    address: str
    name: str
    args: dict[str, Any]
    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int
    removed: bool = False


async def past_events(
    chain: AsyncNode, contracts: Sequence[Contract], from_block: int, to_block: int, involving: str | None = None
) -> list[Event]:
    """All events from `from_block` through `to_block`. `involving` keeps those with this address in their arguments."""
    by_address = {contract.address.lower(): contract for contract in contracts}
    found: list[Event] = []
    for start in range(from_block, to_block + 1, BLOCKS_AT_ONCE):
        last = min(start + BLOCKS_AT_ONCE - 1, to_block)
        for entry in await chain.logs(list(by_address), from_block=start, to_block=last):
            contract = by_address[str(entry["address"]).lower()]
            decoded = contract.interface.decode_log(entry)
            if decoded is None or (involving is not None and involving not in decoded.args.values()):
                continue
            found.append(
                Event(
                    contract=contract.name,
                    address=contract.address,
                    name=decoded.name,
                    args=decoded.args,
                    block_number=from_quantity(entry["blockNumber"]),
                    block_hash=str(entry["blockHash"]),
                    transaction_hash=str(entry["transactionHash"]),
                    log_index=from_quantity(entry["logIndex"]),
                )
            )
    return found


async def event_stream(
    chain: AsyncNode,
    contracts: Sequence[Contract],
    from_block: int,
    involving: str | None,
    confirmations: int,
    every: float,
) -> AsyncIterator[Event]:
    """Yield every event from `from_block` on, once, without end.

    Each request continues after the last block that was read, so a node that was unavailable leaves no gap. The hash
    of the last block shows whether the chain was reorganised. If it was, the events of the removed blocks are yielded
    again with `removed` set, newest first, and reading continues from the fork.
    """
    following = from_block
    hashes: dict[int, str] = {}
    reported: list[Event] = []
    while True:
        try:
            fork = await _fork(chain, hashes)
            undone = [event for event in reported if fork is not None and event.block_number >= fork]
            head = await chain.block_number() - confirmations
            following = min(following, fork) if fork is not None else following
            last = min(head, following + BLOCKS_AT_ONCE - 1)
            news = await past_events(chain, contracts, following, last, involving) if last >= following else []
            seen = str((await chain.block(last))["hash"]) if last >= following else ""
            consistent = all(event.block_number != last or event.block_hash == seen for event in news)
        except WrongChain:
            raise
        except NodeFailure as failure:
            log.warning("events: %s; trying again", failure)
            await asyncio.sleep(every)
            continue
        if not consistent:  # the chain was reorganised between the two requests
            continue
        if fork is not None:
            hashes = {number: hash_ for number, hash_ in hashes.items() if number < fork}
            reported = [event for event in reported if event.block_number < fork]
        for event in reversed(undone):
            yield replace(event, removed=True)
        for event in news:
            yield event
        if last >= following:
            following = last + 1
            hashes[last] = seen
            hashes |= {event.block_number: event.block_hash for event in news}
            hashes = {number: hash_ for number, hash_ in hashes.items() if number > last - BLOCKS_REMEMBERED}
            reported = [event for event in [*reported, *news] if event.block_number > last - BLOCKS_REMEMBERED]
        if following > head:
            await asyncio.sleep(every)


async def _fork(chain: AsyncNode, hashes: dict[int, str]) -> int | None:
    """The lowest block to read again, or None if all blocks that were read are still part of the chain.

    The newest block is checked first: if its hash is unchanged, so are all below it. A block that the node does not
    have yet is skipped.
    """
    fork: int | None = None
    for number in sorted(hashes, reverse=True):
        found = await chain.block_hash(number)
        if found is None:
            continue
        if found == hashes[number]:
            return None if fork is None else number + 1
        fork = number
    return fork
