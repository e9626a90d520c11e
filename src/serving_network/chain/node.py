# SPDX-License-Identifier: Apache-2.0
"""Requests to a node, with retries over several URLs, and with errors as exceptions."""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serving_network.addresses import several
from serving_network.chain.host_limits import asks_for_smaller_range
from serving_network.chain.transport import RpcCall, TransientFailure, Transport
from serving_network.contracts.reverts import explain_refusal
from serving_network.errors import ContractError, NodeFailure, NodeUnreachable, RpcError, WrongChain
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Block = int | str
Log = dict[str, Any]

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 8.0
SILENCE = 5.0  # seconds without an answer
CALLS_PER_BATCH = 100  # what nodes accept by default
QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
DATA = re.compile(r"(?:0x)?[0-9a-fA-F]*")
HASH = re.compile(r"0x[0-9a-fA-F]{64}")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class AsyncNode:
    """A chain, as reported by one or more interchangeable nodes.

    A request that is safe to repeat is retried at the next URL, with growing pauses, if it got no answer, HTTP 5xx
    or a rate limit. `chain_id` is checked at each URL before its first answer is used, and again after every failure,
    because another node may have started at that URL. A URL that has never answered is not tried again after a timeout.
    A block is a number or "latest", "pending" or "earliest"; amounts are in wei. `on_silence` is called with a URL each
    time that it has not answered for SILENCE seconds.
    """

    def __init__(
        self,
        transports: Sequence[Transport],
        expected_chain_id: int | None,
        attempts: int,
        on_silence: Callable[[str], None] | None = None,
    ) -> None:
        self._transports = list(transports)
        self._checked: set[int] = set()
        self._heard: set[int] = set()
        self._on_silence = on_silence
        self._expected_chain_id = expected_chain_id
        self._attempts = attempts
        self._current = 0

    @property
    def where(self) -> str:
        """The URL in use, for display."""
        return self._transports[self._current].where

    @property
    def chain_id(self) -> int:
        """The chain's id. Raises NodeUnreachable before the connection is open."""
        if self._expected_chain_id is None:
            raise NodeUnreachable(
                "The chain id is unknown, because the connection is not open.",
                next_step="Open the connection with `open` first.",
            )
        return self._expected_chain_id

    async def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The result of one JSON-RPC method, as the node formats it.

        Raises RpcError if the node answers with an error, NodeUnreachable if none of its URLs answers, and WrongChain.
        """
        (answer,) = await self._ask([(method, list(params))], self._attempts if _may_repeat(method) else 1)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[RpcCall], at_once: int = CALLS_PER_BATCH) -> list[Any | RpcError]:
        """The results of many read-only methods, in order. A method that failed has its RpcError in its place."""
        answers: list[Any | RpcError] = []
        for start in range(0, len(calls), at_once):
            answers += await self._ask(list(calls[start : start + at_once]), self._attempts)
        return answers

    async def call(
        self, to: str, data: bytes, *, sender: str | None = None, block: Block = "latest", value: int = 0
    ) -> bytes:
        """The data that the contract at `to` returns. Raises the ContractError that the call fails with."""
        try:
            return from_hex(await self.rpc("eth_call", _call_params(to, data, sender, block, value)))
        except RpcError as refusal:
            raise explain_refusal(refusal) from None

    async def call_many(
        self, calls: Sequence[tuple[str, bytes]], *, sender: str | None = None, block: Block = "latest"
    ) -> list[bytes | ContractError]:
        """The data that many calls `(to, data)` return, in order, with a ContractError for a call that failed."""
        results: list[bytes | ContractError] = []
        for answer in await self.call_each(calls, sender=sender, block=block):
            if isinstance(answer, RpcError):
                raise answer
            results.append(answer)
        return results

    async def call_each(
        self,
        calls: Sequence[tuple[str, bytes]],
        *,
        sender: str | None = None,
        block: Block = "latest",
        at_once: int = CALLS_PER_BATCH,
    ) -> list[bytes | ContractError | RpcError]:
        """Like `call_many`, with an RpcError for a call that the node refused. A batch has up to `at_once` calls."""
        requests = [("eth_call", _call_params(to, data, sender, block, 0)) for to, data in calls]
        return [
            explain_refusal(answer) if isinstance(answer, RpcError) else from_hex(answer)
            for answer in await self.batch(requests, at_once)
        ]

    async def logs(
        self,
        addresses: Sequence[str],
        *,
        topics: Sequence[Any] = (),
        from_block: int,
        to_block: int,
    ) -> list[Log]:
        """All logs of the contracts from `from_block` through `to_block`, in the order of the chain.

        If the node limits the number of blocks in one request, the range is split.
        """
        try:
            return await self.logs_at_once(addresses, topics=topics, from_block=from_block, to_block=to_block)
        except RpcError as refusal:
            if from_block >= to_block or not asks_for_smaller_range(refusal):
                raise
        middle = (from_block + to_block) // 2
        first = await self.logs(addresses, topics=topics, from_block=from_block, to_block=middle)
        return first + await self.logs(addresses, topics=topics, from_block=middle + 1, to_block=to_block)

    async def logs_at_once(
        self,
        addresses: Sequence[str],
        *,
        topics: Sequence[Any] = (),
        from_block: int,
        to_block: int,
    ) -> list[Log]:
        """As `logs`, in one request. Raises RpcError if the range or its logs are more than the node allows."""
        query = {"address": several(addresses), "fromBlock": hex(from_block), "toBlock": hex(to_block)}
        if topics:
            query["topics"] = list(topics)
        logs: list[Log] = await self.rpc("eth_getLogs", [query])
        if not isinstance(logs, list):
            raise NodeFailure("The node did not answer a request for events with a list.")
        wanted, kinds = {address.lower() for address in addresses}, _kinds(topics)
        by_place: dict[tuple[int, int], Log] = {}
        for log in logs:
            place = check_log(log)
            if (
                log["address"].lower() not in wanted
                or not from_block <= place[0] <= to_block
                or (kinds and (not log["topics"] or log["topics"][0].lower() not in kinds))
            ):
                raise NodeFailure("The node sent an event that was not requested.")
            by_place[place] = log
        if len(by_place) != len(logs):
            raise NodeFailure("The node sent an event twice.")
        return [by_place[place] for place in sorted(by_place)]

    async def block_number(self) -> int:
        """The number of the newest block."""
        return from_quantity(await self.rpc("eth_blockNumber"))

    async def block(self, block: Block = "latest") -> dict[str, Any]:
        """A block's header and the hashes of its transactions, as the node formats them."""
        found = await self.rpc("eth_getBlockByNumber", [block_parameter(block), False])
        if found is None:
            raise NodeFailure(f"{self.where} has no block {block}.", next_step="Use a node that is in sync.")
        if not isinstance(found, dict) or not is_hash(found.get("hash")):
            raise NodeFailure("The node sent an incomplete block.")
        if isinstance(block, int) and from_quantity(found.get("number")) != block:
            raise NodeFailure(f"The node sent block {printable(found.get('number'))} instead of {block}.")
        return found

    async def timestamp(self, block: Block = "latest") -> int:
        """When a block was made, in seconds since 1970."""
        return from_quantity((await self.block(block)).get("timestamp"))

    async def block_hash(self, number: int) -> str | None:
        """The hash of a block; None if the chain has no such block yet."""
        found = await self.rpc("eth_getBlockByNumber", [hex(number), False])
        if found is None:
            return None
        if not isinstance(found, dict) or not is_hash(found.get("hash")):
            raise NodeFailure("The node sent an incomplete block.")
        return str(found["hash"])

    async def balance(self, address: str, block: Block = "latest") -> int:
        """The coins in a wallet, in wei."""
        return from_quantity(await self.rpc("eth_getBalance", [address, block_parameter(block)]))

    async def mined_count(self, address: str) -> int:
        """The number of mined transactions of an address, which is its next nonce."""
        return from_quantity(await self.rpc("eth_getTransactionCount", [address, "latest"]))

    async def code(self, address: str, block: Block = "latest") -> bytes:
        """The code at an address; empty if it is not a contract."""
        return from_hex(await self.rpc("eth_getCode", [address, block_parameter(block)]))

    async def close(self) -> None:
        """Close the connections."""
        for transport in self._transports:
            await transport.close()

    async def _ask(self, calls: list[RpcCall], attempts: int) -> list[Any | RpcError]:
        reason = ""
        silent: set[int] = set()
        for attempt in range(max(attempts, len(self._transports))):
            place = self._current
            try:
                with self._noticing_silence(place):
                    await self._check(place)
                    return await self._transports[place].ask(calls)
            except TransientFailure as failure:
                self._checked.discard(place)
                reason = f"{self._transports[place].where}: {failure}"
                if isinstance(failure.__cause__, TimeoutError) and place not in self._heard:
                    silent.add(place)
                if attempt + 1 >= attempts or len(silent) == len(self._transports):
                    break
                self._current = (place + 1) % len(self._transports)
                if self._current == 0:
                    await asyncio.sleep(max(failure.wait, _pause(attempt)))
        raise NodeUnreachable(
            f"{self.where} does not answer.",
            cause=reason,
            next_step="Check that the node is running: serving network show. Start a local one with: serving up",
        )

    @contextmanager
    def _noticing_silence(self, place: int) -> Iterator[None]:
        if self._on_silence is None:
            yield
            return
        where = self._transports[place].where
        notice = asyncio.get_running_loop().call_later(SILENCE, self._on_silence, where)
        try:
            yield
        finally:
            notice.cancel()

    async def _check(self, place: int) -> None:
        """Read or compare the chain id, once for each URL."""
        if place in self._checked:
            return
        (answer,) = await self._transports[place].ask([("eth_chainId", [])])
        if isinstance(answer, RpcError):
            raise answer
        actual = from_quantity(answer)
        if self._expected_chain_id is not None and actual != self._expected_chain_id:
            raise WrongChain(self._expected_chain_id, actual, self._transports[place].where)
        self._expected_chain_id = actual
        self._checked.add(place)
        self._heard.add(place)

    async def check_chain_id(self) -> None:
        """Read the chain id again. Raises WrongChain if it has changed."""
        actual = from_quantity(await self.rpc("eth_chainId"))
        if actual != self.chain_id:
            raise WrongChain(self.chain_id, actual, self.where)


def from_quantity(value: Any) -> int:
    """A JSON-RPC quantity ("0x1f") as an int. Raises NodeFailure for anything else."""
    if not isinstance(value, str) or not QUANTITY.fullmatch(value):
        raise NodeFailure(f"The node sent {printable(value)} instead of a number.")
    return int(value, 16)


def from_hex(value: Any) -> bytes:
    """JSON-RPC data ("0x00ff") as bytes. Raises NodeFailure for anything else."""
    if not isinstance(value, str) or len(value) % 2 or not DATA.fullmatch(value):
        raise NodeFailure(f"The node sent {printable(value)} instead of hexadecimal data.")
    return bytes.fromhex(value.removeprefix("0x"))


def from_word(value: Any) -> int:
    """A storage word of 32 bytes as a number. Raises NodeFailure for anything else."""
    word = from_hex(value)
    if len(word) != 32:
        raise NodeFailure(f"The node sent {len(word)} bytes instead of a storage word of 32 bytes.")
    return int.from_bytes(word)


def is_hash(value: Any) -> bool:
    """Whether this is a hash in JSON-RPC format: 0x and 64 digits."""
    return isinstance(value, str) and HASH.fullmatch(value) is not None


def is_address(value: Any) -> bool:
    """Whether this is an address in JSON-RPC format: 0x and 40 digits, in any case."""
    return isinstance(value, str) and ADDRESS.fullmatch(value) is not None


def check_log(log: Any) -> tuple[int, int]:
    """The place of a log: its block and its index in it.

    Raises NodeFailure for an incomplete log, and for a log whose block was removed by a reorganisation.
    """
    if not (
        isinstance(log, dict)
        and is_address(log.get("address"))
        and isinstance(log.get("topics"), list)
        and all(is_hash(topic) for topic in log["topics"])
        and isinstance(log.get("data"), str)
        and is_hash(log.get("blockHash"))
        and is_hash(log.get("transactionHash"))
    ):
        raise NodeFailure("The node sent an incomplete log.", cause=printable(log))
    place = from_quantity(log.get("blockNumber")), from_quantity(log.get("logIndex"))
    if log.get("removed"):
        raise NodeFailure("The node sent an event of a block that is no longer part of the chain.")
    return place


def _kinds(topics: Sequence[Any]) -> set[str]:
    """The first topics that a filter accepts; empty if it accepts all."""
    first = topics[0] if topics else None
    if first is None:
        return set()
    return {one.lower() for one in ([first] if isinstance(first, str) else first)}


def block_parameter(block: Block) -> str:
    """The block parameter of a JSON-RPC method."""
    return hex(block) if isinstance(block, int) else block


def _call_params(to: str, data: bytes, sender: str | None, block: Block, value: int) -> list[Any]:
    call = {"to": to, "data": "0x" + data.hex()}
    if sender is not None:
        call["from"] = sender
    if value:
        call["value"] = hex(value)
    return [call, block_parameter(block)]


def _may_repeat(method: str) -> bool:
    """Whether the method is idempotent: all reads are, and sending the same signed transaction again."""
    return method == "eth_sendRawTransaction" or not method.startswith(
        ("eth_send", "eth_sign", "evm_", "hardhat_", "anvil_")
    )


def _pause(attempt: int) -> float:
    return min(FIRST_PAUSE * float(2**attempt), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
