"""Asking a node: with retries, over several of its addresses, and with refusals as exceptions."""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING, Any

from serving_network.chain.transport import RpcCall, TransientFailure, Transport
from serving_network.contracts.reverts import explain_refusal
from serving_network.errors import ContractError, NodeFailure, NodeUnreachable, RpcError, WrongChain
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

Block = int | str
Log = dict[str, Any]

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 8.0
CALLS_PER_BATCH = 50
QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
DATA = re.compile(r"(?:0x)?[0-9a-fA-F]*")
HASH = re.compile(r"0x[0-9a-fA-F]{64}")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
# Answers of nodes that want a question about fewer blocks.
RANGE_COMPLAINTS = ("range", "too many", "more than", "limit", "exceed", "timeout", "timed out", "large")


class AsyncNode:
    """A chain as one or more interchangeable nodes show it.

    Every question that may be repeated is asked again, with growing pauses and at the next address, when
    it got no answer or HTTP 429 or 5xx. `chain_id` is checked at each address before its first answer is
    believed, and again after every failure: another node may have come up behind the address. Blocks are
    numbers or "latest", "pending", "earliest"; amounts are wei.
    """

    def __init__(self, transports: Sequence[Transport], expected_chain_id: int | None, attempts: int) -> None:
        self._transports = list(transports)
        self._checked: set[int] = set()
        self._expected_chain_id = expected_chain_id
        self._attempts = attempts
        self._current = 0

    @property
    def where(self) -> str:
        """The address that is being asked, for people."""
        return self._transports[self._current].where

    @property
    def chain_id(self) -> int:
        """The chain's id. Known from the moment the connection is open."""
        if self._expected_chain_id is None:
            raise NodeUnreachable("The node has not been asked yet.", next_step="Open the connection first.")
        return self._expected_chain_id

    async def rpc(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The result of one JSON-RPC method, as the node shapes it.

        Raises RpcError when the node refuses, NodeUnreachable when none of its addresses answers, and
        WrongChain.
        """
        (answer,) = await self._ask([(method, list(params))], self._attempts if _may_repeat(method) else 1)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, calls: Sequence[RpcCall]) -> list[Any | RpcError]:
        """The answers to many reading calls, in order, refusals in their place."""
        answers: list[Any | RpcError] = []
        for start in range(0, len(calls), CALLS_PER_BATCH):
            answers += await self._ask(list(calls[start : start + CALLS_PER_BATCH]), self._attempts)
        return answers

    async def call(
        self, to: str, data: bytes, *, sender: str | None = None, block: Block = "latest", value: int = 0
    ) -> bytes:
        """What the contract at `to` returns. Raises the ContractError that it answered with."""
        try:
            return from_hex(await self.rpc("eth_call", _call_params(to, data, sender, block, value)))
        except RpcError as refusal:
            raise explain_refusal(refusal) from None

    async def call_many(
        self, calls: Sequence[tuple[str, bytes]], *, sender: str | None = None, block: Block = "latest"
    ) -> list[bytes | ContractError]:
        """What the contracts return to many calls `(to, data)`, in order, contract errors in their place."""
        answers = await self.batch([("eth_call", _call_params(to, data, sender, block, 0)) for to, data in calls])
        results: list[bytes | ContractError] = []
        for answer in answers:
            if not isinstance(answer, RpcError):
                results.append(from_hex(answer))
                continue
            reason = explain_refusal(answer)
            if not isinstance(reason, ContractError):
                raise reason
            results.append(reason)
        return results

    async def logs(
        self,
        addresses: Sequence[str],
        *,
        topics: Sequence[Any] = (),
        from_block: int,
        to_block: int,
    ) -> list[Log]:
        """All logs of the contracts in these blocks, both included, in their order on the chain.

        A node that answers only for fewer blocks at once is asked in parts.
        """
        asked = {"address": list(addresses), "fromBlock": hex(from_block), "toBlock": hex(to_block)}
        if topics:
            asked["topics"] = list(topics)
        try:
            logs: list[Log] = await self.rpc("eth_getLogs", [asked])
        except RpcError as refusal:
            if from_block >= to_block or not any(word in str(refusal).lower() for word in RANGE_COMPLAINTS):
                raise
            middle = (from_block + to_block) // 2
            first = await self.logs(addresses, topics=topics, from_block=from_block, to_block=middle)
            return first + await self.logs(addresses, topics=topics, from_block=middle + 1, to_block=to_block)
        if not isinstance(logs, list):
            raise NodeFailure("The node answered a question for events with something else.")
        wanted, kinds = {address.lower() for address in addresses}, _kinds(topics)
        places: set[tuple[int, int]] = set()
        for log in logs:
            check_log(log)
            places.add(_place(log))
            if (
                log["address"].lower() not in wanted
                or not from_block <= from_quantity(log["blockNumber"]) <= to_block
                or (kinds and (not log["topics"] or log["topics"][0].lower() not in kinds))
            ):
                raise NodeFailure("The node sent an event that was not asked for.")
        if len(places) != len(logs):
            raise NodeFailure("The node sent an event twice.")
        return sorted(logs, key=_place)

    async def block_number(self) -> int:
        """The number of the newest block."""
        return from_quantity(await self.rpc("eth_blockNumber"))

    async def block(self, block: Block = "latest") -> dict[str, Any]:
        """A block's header and the hashes of its transactions, as the node shapes it."""
        found = await self.rpc("eth_getBlockByNumber", [block_parameter(block), False])
        if found is None:
            raise NodeFailure(f"{self.where} has no block {block}.", next_step="Ask a node that is in step.")
        if not isinstance(found, dict) or not is_hash(found.get("hash")):
            raise NodeFailure("The node sent a block that is none.")
        if isinstance(block, int) and from_quantity(found.get("number")) != block:
            raise NodeFailure(f"The node sent block {printable(found.get('number'))} instead of {block}.")
        return found

    async def block_hash(self, number: int) -> str | None:
        """The hash of a block; None if the chain is not that long."""
        found = await self.rpc("eth_getBlockByNumber", [hex(number), False])
        if found is None:
            return None
        if not isinstance(found, dict) or not is_hash(found.get("hash")):
            raise NodeFailure("The node sent a block that is none.")
        return str(found["hash"])

    async def balance(self, address: str, block: Block = "latest") -> int:
        """The coins in a wallet, in wei."""
        return from_quantity(await self.rpc("eth_getBalance", [address, block_parameter(block)]))

    async def code(self, address: str, block: Block = "latest") -> bytes:
        """The code at an address; empty for a plain wallet."""
        return from_hex(await self.rpc("eth_getCode", [address, block_parameter(block)]))

    async def close(self) -> None:
        """Give back connections."""
        for transport in self._transports:
            await transport.close()

    async def _ask(self, calls: list[RpcCall], attempts: int) -> list[Any | RpcError]:
        reason = ""
        for attempt in range(max(attempts, len(self._transports))):
            place = self._current
            try:
                await self._check(place)
                return await self._transports[place].ask(calls)
            except TransientFailure as failure:
                self._checked.discard(place)
                reason = f"{self._transports[place].where}: {failure}"
                if attempt + 1 >= attempts:
                    break
                self._current = (place + 1) % len(self._transports)
                if self._current == 0:
                    await asyncio.sleep(max(failure.wait, _pause(attempt)))
        raise NodeUnreachable(
            f"{self.where} does not answer.",
            cause=reason,
            next_step="serving network show, and check that the node runs (the local one: serving up)",
        )

    async def _check(self, place: int) -> None:
        """Learn or compare the chain id, once for each address."""
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

    async def check_chain_id(self) -> None:
        """Ask once more which chain this is. Raises WrongChain."""
        actual = from_quantity(await self.rpc("eth_chainId"))
        if actual != self.chain_id:
            raise WrongChain(self.chain_id, actual, self.where)


def from_quantity(value: Any) -> int:
    """A JSON-RPC quantity ("0x1f") as an int. Raises NodeFailure for anything else."""
    if not isinstance(value, str) or not QUANTITY.fullmatch(value):
        raise NodeFailure(f"The node sent {printable(value)} where a number belongs.")
    return int(value, 16)


def from_hex(value: Any) -> bytes:
    """JSON-RPC data ("0x00ff") as bytes. Raises NodeFailure for anything else."""
    if not isinstance(value, str) or len(value) % 2 or not DATA.fullmatch(value):
        raise NodeFailure(f"The node sent {printable(value)} where data belongs.")
    return bytes.fromhex(value.removeprefix("0x"))


def from_word(value: Any) -> int:
    """A word of storage, all 32 bytes of it, as a number. Raises NodeFailure for anything else."""
    word = from_hex(value)
    if len(word) != 32:
        raise NodeFailure(f"The node sent {len(word)} bytes where a word of storage belongs.")
    return int.from_bytes(word)


def is_hash(value: Any) -> bool:
    """Whether this is a hash as JSON-RPC shapes it: 0x and 64 digits."""
    return isinstance(value, str) and HASH.fullmatch(value) is not None


def is_address(value: Any) -> bool:
    """Whether this is an address as JSON-RPC shapes it: 0x and 40 digits, in any case."""
    return isinstance(value, str) and ADDRESS.fullmatch(value) is not None


def check_log(log: Any) -> None:
    """Raises NodeFailure if this is not the log of a mined transaction, or one whose block was undone."""
    if not (
        isinstance(log, dict)
        and is_address(log.get("address"))
        and isinstance(log.get("topics"), list)
        and all(is_hash(topic) for topic in log["topics"])
        and isinstance(log.get("data"), str)
        and is_hash(log.get("blockHash"))
        and is_hash(log.get("transactionHash"))
    ):
        raise NodeFailure("The node sent a log that is none.", cause=printable(log))
    for name in ("blockNumber", "logIndex"):
        from_quantity(log.get(name))
    if log.get("removed"):
        raise NodeFailure("The node sent an event of a block that is no longer part of the chain.")


def _place(log: Log) -> tuple[int, int]:
    return from_quantity(log["blockNumber"]), from_quantity(log["logIndex"])


def _kinds(topics: Sequence[Any]) -> set[str]:
    """The first topics that a filter lets through; empty where it lets all through."""
    first = topics[0] if topics else None
    if first is None:
        return set()
    return {one.lower() for one in ([first] if isinstance(first, str) else first)}


def block_parameter(block: Block) -> str:
    """A block as JSON-RPC names it."""
    return hex(block) if isinstance(block, int) else block


def _call_params(to: str, data: bytes, sender: str | None, block: Block, value: int) -> list[Any]:
    call = {"to": to, "data": "0x" + data.hex()}
    if sender is not None:
        call["from"] = sender
    if value:
        call["value"] = hex(value)
    return [call, block_parameter(block)]


def _may_repeat(method: str) -> bool:
    """Whether asking twice does no more than asking once: reads, and one and the same signed transaction."""
    return method == "eth_sendRawTransaction" or not method.startswith(
        ("eth_send", "eth_sign", "evm_", "hardhat_", "anvil_")
    )


def _pause(attempt: int) -> float:
    return min(FIRST_PAUSE * float(2**attempt), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
