# SPDX-License-Identifier: Apache-2.0
"""Read a range of blocks from a node: events, their blocks and transactions, and what no event tells.

Everything that is returned belongs to one chain: each event's block has the hash that the node reports for it, and the
last block has the same hash before and after reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from serving_network.addresses import to_checksum_address
from serving_network.chain.host_limits import asks_for_smaller_range
from serving_network.chain.node import from_hex, from_quantity, is_hash
from serving_network.clients.read.books import deployment_block
from serving_network.clients.read.settlement_calls import RESULT_EVENTS
from serving_network.contracts.models import FINE_TUNING, INFERENCE
from serving_network.errors import NodeFailure, RpcError
from serving_network.explorer.index.calls import BEACON, LEDGER, SERVICE, decoded_call
from serving_network.explorer.index.events import Event, Followed, all_topics, clean, event_of
from serving_network.explorer.index.positions import BLOCKS_AT_MOST
from serving_network.explorer.index.questions import Asker, Question
from serving_network.explorer.index.settled import Group, Sent, groups_of, signed_by_call, signed_in
from serving_network.explorer.index.steps import Header, Step, Transaction
from serving_network.explorer.index.untold import questions_about

if TYPE_CHECKING:
    from serving_network.chain.node import Log
    from serving_network.chain.reading import AsyncReader

MOST_EVENTS: Final = 5_000
"""The most events of one step, unless a single block has more: they are all in memory."""
ADDRESSES_AT_ONCE: Final = 100
_LATEST_TIME: Final = 253_402_128_000
"""The end of the year 9999, less a day for time zones: later times have no date."""
_SETTLES: Final = frozenset((*RESULT_EVENTS.values(), "FeesSettled"))


_TOPICS: Final = [list(all_topics())]


class Moved(Exception):
    """The chain was reorganised while it was read."""


class TooLarge(Exception):
    """The node refuses a range of this size."""


class Source:
    """Reads from a node, from the block `first` on."""

    def __init__(self, chain: AsyncReader, ledger: str, first: int) -> None:
        self._chain = chain
        self._ledger = ledger
        self._first = first
        self._asker = Asker(chain)

    async def header(self, block: int | str = "latest") -> Header:
        """A block's header. Raises NodeFailure."""
        return _header(await self._chain.block(block))

    async def hash(self, number: int) -> str | None:
        """A block's hash, None if the chain has no such block."""
        found = await self._chain.block_hash(number)
        return None if found is None else found.lower()

    async def step(self, followed: Mapping[str, Followed], first: int, last: int) -> Step:
        """Read a range of blocks, or its beginning if it has too many events. Raises Moved, TooLarge, NodeFailure."""
        before = await self.header(last)
        contracts = dict(followed)
        logs = await self._logs(list(contracts), first, last)
        asked_for = len(logs)
        last, logs = _cut(first, last, logs)
        found: list[Followed] = []
        all_events = new = self._events(logs, contracts)
        while announced := await self._announced(new, contracts):
            found += announced
            contracts |= {one.address: one for one in announced}
            more: list[Log] = []
            for one in announced:
                start = await self._start(one)
                more += await self._chain.logs([one.address], topics=_TOPICS, from_block=start, to_block=last)
            new = self._events(more, contracts)
            all_events += new
        events = sorted(all_events, key=lambda one: one.position)
        blocks = await self._blocks(events)
        transactions = await self._transactions(events, contracts)
        groups = _settled_groups(events, transactions)
        answers = await self._asker.ask(questions_about(events, transactions, found, groups), last)
        header = before if last == before.number else await self.header(last)
        if await self.hash(before.number) != before.hash:
            raise Moved
        return Step(header, asked_for, tuple(events), blocks, transactions, tuple(groups), tuple(found), answers)

    async def _logs(self, addresses: Sequence[str], first: int, last: int) -> list[Log]:
        """The logs of contracts in a range. Raises TooLarge if the node refuses it."""
        found: list[Log] = []
        for start in range(0, len(addresses), ADDRESSES_AT_ONCE):
            some = addresses[start : start + ADDRESSES_AT_ONCE]
            try:
                found += await self._chain.logs_at_once(some, topics=_TOPICS, from_block=first, to_block=last)
            except RpcError as refusal:
                if first < last and asks_for_smaller_range(refusal):
                    raise TooLarge from refusal
                raise
        return found

    @staticmethod
    def _events(logs: Iterable[Log], contracts: Mapping[str, Followed]) -> list[Event]:
        by_lower = {address.lower(): one for address, one in contracts.items()}
        found = [event_of(log, by_lower[log["address"].lower()]) for log in logs]
        return [event for event in found if event is not None]

    async def _announced(self, events: Iterable[Event], known: Mapping[str, Followed]) -> list[Followed]:
        """Contracts that events announce: services by the ledger, beacons by their fronts, one for each front."""
        found: dict[str, Followed] = {}
        fronts = {one.front for one in known.values()}
        for event in events:
            if event.name == "ServiceRegistered" and event.contract.role == LEDGER:
                address = event.args["serviceAddress"]
                if address not in known and address not in found:
                    found[address] = await self._service(event)
            elif event.name == "BeaconUpgraded":
                address, front = event.args["beacon"], event.contract
                if address not in known and address not in found and front.address not in fronts:
                    fronts.add(front.address)
                    found[address] = Followed(
                        address, BEACON, name=front.name or "ledger", front=front.address, since=event.position
                    )
        return list(found.values())

    async def _service(self, event: Event) -> Followed:
        address, name = event.args["serviceAddress"], clean(event.args["serviceName"])
        question = Question("LedgerManager", self._ledger, "getServiceInfo", (address,), event.block)
        answer = (await self._asker.ask([question], event.block))[question]
        info = answer.value or {}
        type_ = clean(info.get("serviceType", "")) or name.rpartition("-")[0]
        version = clean(info.get("version", "")) or name.rpartition("-")[2]
        kind = type_ if type_ in (INFERENCE, FINE_TUNING) else "other"
        return Followed(
            address, SERVICE, kind, name, None, event.position, type_, version, clean(info.get("description", "")),
            answer.block,
        )  # fmt: skip

    async def _start(self, contract: Followed) -> int:
        """Where a contract's events begin, which may be before it was announced, and before the first block."""
        deployed = await deployment_block(self._chain, contract.address)
        return deployed or self._first

    async def _blocks(self, events: Iterable[Event]) -> dict[int, Header]:
        """The blocks of events. Raises Moved if one of them is not the block of its events any more."""
        hashes = {event.block: event.block_hash for event in events}
        numbers = sorted(hashes)
        answers = await self._chain.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        found = {}
        for number, answer in zip(numbers, answers, strict=True):
            if isinstance(answer, RpcError):
                raise answer
            if not isinstance(answer, dict):
                raise Moved
            header = _header(answer)
            if header.number != number or header.hash != hashes[number]:
                raise Moved
            found[number] = header
        if any(event.block_hash != hashes[event.block] for event in events):
            raise Moved
        return found

    async def _transactions(self, events: Sequence[Event], contracts: Mapping[str, Followed]) -> dict[str, Transaction]:
        block_of = {event.tx: event.block_hash for event in events}
        found: dict[str, Transaction] = {}
        hashes = list(block_of)
        for hash_, sent in zip(hashes, await self._chain.transactions(hashes), strict=True):
            if sent is None or str(sent.get("blockHash")).lower() != block_of[hash_]:
                raise Moved
            recipient = to_checksum_address(sent["to"]) if sent["to"] else None
            data = from_hex(sent["input"])
            transaction = Transaction(
                hash_, to_checksum_address(sent["from"]), recipient, from_quantity(sent["value"]), data
            )
            if (called := contracts.get(recipient or "")) is not None:
                signed = signed_in(data) if called.role == SERVICE else None
                call = None if signed is not None else decoded_call(called.role, called.kind, data)
                transaction = replace(transaction, call=call, signed=signed or signed_by_call(call))
            found[hash_] = transaction
        settling = list(dict.fromkeys(event.tx for event in events if event.name in _SETTLES))
        answers = await self._chain.batch([("eth_getTransactionReceipt", [hash_]) for hash_ in settling])
        for hash_, receipt in zip(settling, answers, strict=True):
            if isinstance(receipt, RpcError):
                raise receipt
            if not isinstance(receipt, dict) or str(receipt.get("blockHash")).lower() != block_of[hash_]:
                raise Moved
            used = from_quantity(receipt.get("gasUsed"))
            cost = used * from_quantity(receipt.get("effectiveGasPrice", "0x0"))
            found[hash_] = replace(found[hash_], gas_used=used, gas_cost=cost)
        return found


def _settled_groups(events: Iterable[Event], transactions: Mapping[str, Transaction]) -> list[Group]:
    """The groups of settled rows among the events of services."""
    found: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event.contract.role == SERVICE:
            found.setdefault((event.tx, event.contract.address), []).append(event)
    groups = []
    for (hash_, service), of_service in found.items():
        transaction = transactions[hash_]
        signed = transaction.signed if transaction.recipient == service else None
        groups += groups_of(of_service, Sent(transaction.sender, signed))
    return groups


def _cut(first: int, last: int, logs: list[Log]) -> tuple[int, list[Log]]:
    """Shorten a range that has too many logs. Returns its last block, and the logs up to that block."""
    if len(logs) <= MOST_EVENTS:
        return last, logs
    blocks = sorted(from_quantity(log["blockNumber"]) for log in logs)
    last = max(first, blocks[MOST_EVENTS] - 1)
    return last, [log for log in logs if from_quantity(log["blockNumber"]) <= last]


def _header(found: Mapping[str, Any]) -> Header:
    if not is_hash(found.get("hash")):
        raise NodeFailure("The node sent an incomplete block.")
    number, time = from_quantity(found.get("number")), from_quantity(found.get("timestamp"))
    if number >= BLOCKS_AT_MOST or time >= _LATEST_TIME:
        raise NodeFailure("The node sent a block with an impossible number or time.")
    return Header(number, str(found["hash"]).lower(), time)
