"""A connection to a chain, async and sync: to nodes by URL, or to a chain in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from serving_network.chain.blocking import SyncFace, blocking
from serving_network.chain.sender import AsyncSender
from serving_network.chain.transport import InProcessChain, transport_to
from serving_network.errors import ConfigurationError

if TYPE_CHECKING:
    from types import TracebackType

Target = str | InProcessChain | Sequence[str]


class AsyncConnection(AsyncSender):
    """One chain: questions, transactions and their receipts.

    async with await AsyncConnection.open("http://127.0.0.1:8545", expected_chain_id=31337) as chain:
        print(await chain.balance("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"))
    """

    @classmethod
    async def open(
        cls, target: Target, expected_chain_id: int | None = None, *, timeout: float = 30, attempts: int = 5
    ) -> Self:
        """Connect to `target`: a URL, several URLs of one chain (the next one takes over), or a chain in this process.

        `timeout` is in seconds and for one question; `attempts` is how often a question is asked before
        NodeUnreachable. Raises WrongChain when a node does not serve `expected_chain_id`.
        """
        targets: Sequence[str | InProcessChain]
        targets = [target] if isinstance(target, str) or not isinstance(target, Sequence) else target
        if not targets:
            raise ConfigurationError("The network has no address of a node.", next_step="serving network add --help")
        connection = cls([transport_to(one, timeout) for one in targets], expected_chain_id, attempts)
        try:
            await connection.rpc("eth_chainId")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Connection(SyncFace[AsyncConnection]):
    """`AsyncConnection` for code without an event loop. Close it, or use it in a `with` block."""

    @classmethod
    def open(
        cls, target: Target, expected_chain_id: int | None = None, *, timeout: float = 30, attempts: int = 5
    ) -> Self:
        """As `AsyncConnection.open`."""
        runner = asyncio.Runner()
        try:
            core = runner.run(AsyncConnection.open(target, expected_chain_id, timeout=timeout, attempts=attempts))
        except BaseException:
            runner.close()
            raise
        return cls(core, runner)

    @property
    def chain_id(self) -> int:
        """The chain's id."""
        return self.core.chain_id

    @property
    def where(self) -> str:
        """The address that is being asked, for people."""
        return self.core.where

    rpc = blocking(AsyncConnection.rpc)
    batch = blocking(AsyncConnection.batch)
    call = blocking(AsyncConnection.call)
    call_many = blocking(AsyncConnection.call_many)
    logs = blocking(AsyncConnection.logs)
    block = blocking(AsyncConnection.block)
    block_number = blocking(AsyncConnection.block_number)
    balance = blocking(AsyncConnection.balance)
    code = blocking(AsyncConnection.code)
    suggested_fees = blocking(AsyncConnection.suggested_fees)
    estimate_gas = blocking(AsyncConnection.estimate_gas)
    prepare = blocking(AsyncConnection.prepare)
    broadcast = blocking(AsyncConnection.broadcast)
    send = blocking(AsyncConnection.send)
    wait = blocking(AsyncConnection.wait)
    receipt = blocking(AsyncConnection.receipt)
    replace = blocking(AsyncConnection.replace)

    def close(self) -> None:
        """Give back the connection and its loop."""
        self.runner.run(self.core.close())
        self.runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
