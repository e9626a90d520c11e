# SPDX-License-Identifier: Apache-2.0
"""The nonces that this process has reserved and not used yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serving_network.chain.node import from_quantity
from serving_network.errors import RpcError

if TYPE_CHECKING:
    from serving_network.chain.node import AsyncNode


class Nonces:
    """Reserves nonces, so that several transactions of one key can be sent at once."""

    def __init__(self) -> None:
        self._reserved: dict[str, set[int]] = {}
        self._reserving = asyncio.Lock()

    async def reserve(self, chain: AsyncNode, address: str) -> int:
        """Reserve the lowest nonce that neither the node has counted nor this process has reserved."""
        async with self._reserving:
            mined, pending = await chain.batch(
                [("eth_getTransactionCount", [address, block]) for block in ("latest", "pending")]
            )
            if isinstance(mined, RpcError):
                raise mined
            lowest = from_quantity(mined)
            first = lowest if isinstance(pending, RpcError) else max(lowest, from_quantity(pending))
            taken = {nonce for nonce in self._reserved.get(address, set()) if nonce >= first}
            self._reserved[address] = taken
            while first in taken:
                first += 1
            taken.add(first)
            return first

    def release(self, address: str, nonce: int) -> None:
        """Release a nonce that will not be used, or that the node counts by now."""
        self._reserved.get(address, set()).discard(nonce)
