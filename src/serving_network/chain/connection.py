# SPDX-License-Identifier: Apache-2.0
"""A connection that reads and sends transactions, async and sync."""

from __future__ import annotations

from typing import ClassVar

from serving_network.chain.blocking import blocking
from serving_network.chain.reading import AsyncReader, Reader
from serving_network.chain.sender import AsyncSender


class AsyncConnection(AsyncSender):
    """A connection to one chain, for reading and for sending transactions.

    async with await AsyncConnection.open("http://127.0.0.1:8545", expected_chain_id=31337) as chain:
        receipt = await chain.send(signer, to, data)
    """


class Connection(Reader):
    """`AsyncConnection` for code without an event loop. Close it, or use it in a `with` block."""

    opens: ClassVar[type[AsyncReader]] = AsyncConnection
    core: AsyncConnection

    suggested_fees = blocking(AsyncConnection.suggested_fees)
    estimate_gas = blocking(AsyncConnection.estimate_gas)
    prepare = blocking(AsyncConnection.prepare)
    broadcast = blocking(AsyncConnection.broadcast)
    send = blocking(AsyncConnection.send)
    wait = blocking(AsyncConnection.wait)
    replace = blocking(AsyncConnection.replace)
