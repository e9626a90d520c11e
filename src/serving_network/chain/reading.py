# SPDX-License-Identifier: Apache-2.0
"""A read-only connection, async and sync, to nodes by URL or to a chain in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from serving_network.chain.blocking import SyncFace, blocking, refuse_in_event_loop
from serving_network.chain.node import AsyncNode, from_hex, from_quantity, is_address
from serving_network.chain.receipts import Receipt, read_receipt, same_hash
from serving_network.chain.transport import InProcessChain, transport_to
from serving_network.errors import ConfigurationError, NodeFailure, RpcError

if TYPE_CHECKING:
    from types import TracebackType

Target = str | InProcessChain | Sequence[str]


class AsyncReader(AsyncNode):
    """A read-only connection to one chain: blocks, contracts, events, transactions and receipts.

    async with await AsyncReader.open("http://127.0.0.1:8545", expected_chain_id=31337) as chain:
        print(await chain.balance("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"))
    """

    @classmethod
    async def open(
        cls,
        target: Target,
        expected_chain_id: int | None = None,
        *,
        timeout: float = 30,
        attempts: int = 5,
        on_silence: Callable[[str], None] | None = None,
    ) -> Self:
        """Connect to `target`: a URL, several URLs of one chain (for failover), or a chain in this process.

        `timeout` is the time limit of one request in seconds; `attempts` is how often a request is tried before
        NodeUnreachable is raised. A node that has never answered is not asked again after `timeout`. `on_silence` is
        called with a node's URL when it takes long to answer. Raises WrongChain if a node does not serve
        `expected_chain_id`.
        """
        targets: Sequence[str | InProcessChain]
        targets = [target] if isinstance(target, str) or not isinstance(target, Sequence) else target
        if not targets:
            raise ConfigurationError("The network has no node URL.", next_step="serving network add --help")
        connection = cls([transport_to(one, timeout) for one in targets], expected_chain_id, attempts, on_silence)
        try:
            await connection.rpc("eth_chainId")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def receipt(self, transaction_hash: str) -> Receipt | None:
        """The receipt, or None until the transaction is mined. A failed transaction has `succeeded` False.

        Raises NodeFailure for an incomplete receipt, and for the receipt of another transaction.
        """
        found = await self.rpc("eth_getTransactionReceipt", [transaction_hash])
        if found is None:
            return None
        return read_receipt(found, transaction_hash)

    async def transaction(self, transaction_hash: str) -> dict[str, Any] | None:
        """A mined or pending transaction as the node formats it; None if the node does not know it."""
        return _transaction(await self.rpc("eth_getTransactionByHash", [transaction_hash]), transaction_hash)

    async def transactions(self, hashes: Sequence[str]) -> list[dict[str, Any] | None]:
        """Many transactions, as `transaction`, in order."""
        answers = await self.batch([("eth_getTransactionByHash", [one]) for one in hashes])
        return [_transaction(found, one) for found, one in zip(answers, hashes, strict=True)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _transaction(found: Any, transaction_hash: str) -> dict[str, Any] | None:
    if isinstance(found, RpcError):
        raise found
    if found is None:
        return None
    if not isinstance(found, dict) or not same_hash(found.get("hash"), transaction_hash):
        raise NodeFailure("The node sent another transaction than the requested one.")
    if not is_address(found.get("from")) or not (found.get("to") is None or is_address(found["to"])):
        raise NodeFailure("The node sent an incomplete transaction.")
    from_hex(found.get("input"))
    for name in ("value", "nonce", "gas"):
        from_quantity(found.get(name))
    return found


class Reader(SyncFace[AsyncReader]):
    """`AsyncReader` for code without an event loop. Close it, or use it in a `with` block."""

    opens: ClassVar[type[AsyncReader]] = AsyncReader

    @classmethod
    def open(
        cls, target: Target, expected_chain_id: int | None = None, *, timeout: float = 30, attempts: int = 5
    ) -> Self:
        """As `AsyncReader.open`. Raises InvalidInput inside a running event loop."""
        refuse_in_event_loop(cls.__name__, "was opened", f"await Async{cls.__name__}.open(...)")
        runner = asyncio.Runner()
        try:
            core = runner.run(cls.opens.open(target, expected_chain_id, timeout=timeout, attempts=attempts))
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
        """The URL of the node in use."""
        return self.core.where

    rpc = blocking(AsyncReader.rpc)
    batch = blocking(AsyncReader.batch)
    call = blocking(AsyncReader.call)
    call_many = blocking(AsyncReader.call_many)
    logs = blocking(AsyncReader.logs)
    block = blocking(AsyncReader.block)
    timestamp = blocking(AsyncReader.timestamp)
    block_number = blocking(AsyncReader.block_number)
    balance = blocking(AsyncReader.balance)
    code = blocking(AsyncReader.code)
    receipt = blocking(AsyncReader.receipt)

    def close(self) -> None:
        """Close the connection and its event loop. Does nothing if it was closed before."""
        if not self.is_closed:
            self.runner.run(self.core.close())
            self.runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
