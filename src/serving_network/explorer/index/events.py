# SPDX-License-Identifier: Apache-2.0
"""Events of followed contracts, decoded. What strangers' contracts emit is bounded and never stops the index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from serving_network.chain.node import Log, from_hex, from_quantity
from serving_network.contracts import load
from serving_network.contracts.codec import Interface, MalformedData
from serving_network.contracts.models import FINE_TUNING
from serving_network.errors import NodeFailure
from serving_network.explorer.index.calls import BEACON, LEDGER
from serving_network.explorer.index.positions import BLOCKS_AT_MOST, LOGS_PER_BLOCK, position_of

MOST_TEXT: Final = 5_000
"""Characters of a text that are kept. The contracts of this project accept at most 4,096 bytes."""
_MOST_ARGS: Final = 64_000
_LARGEST_JSON_NUMBER: Final = 2**53


@dataclass(frozen=True, slots=True)
class Followed:
    """A contract whose events are followed. `kind` is that of a service, `front` that of a beacon."""

    address: str
    role: str
    kind: str = ""
    name: str = ""
    front: str | None = None
    since: int = 0
    type: str = ""
    version: str = ""
    description: str = ""
    read_at: int | None = None


def stored(one: Followed) -> tuple[Any, ...]:
    """A contract as a row of its table."""
    return (
        one.address, one.role, one.kind, one.name, one.front, one.type, one.version, one.description, one.since,
        one.read_at,
    )  # fmt: skip


def followed(row: Sequence[Any]) -> Followed:
    """The contract in a row of its table."""
    address, role, kind, name, front, type_, version, description, since, read_at = row
    return Followed(address, role, kind, name, front, since, type_, version, description, read_at)


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `name` is empty if it cannot be decoded."""

    position: int
    block: int
    block_hash: str
    tx: str
    contract: Followed
    name: str
    args: dict[str, Any]

    user: str | None = None
    """Whom the event names as user."""
    provider: str | None = None
    """Whom the event names as provider."""


_PROVIDER_IS_SERVICE: Final = frozenset({"ServiceUpdated", "ServiceRemoved"})
"""Events in which inference calls the provider a service."""


def event_of(log: Log, contract: Followed) -> Event | None:
    """The event in a log; None if it is none of the network's. Raises NodeFailure for an impossible position."""
    block, index = from_quantity(log["blockNumber"]), from_quantity(log["logIndex"])
    if index >= LOGS_PER_BLOCK or block >= BLOCKS_AT_MOST:
        raise NodeFailure("The node sent an event with an impossible position.")
    topics: Sequence[Any] = log["topics"]
    interface = _codec(contract.role, contract.kind).get(topics[0].lower()) if topics else None
    if interface is None:
        return None
    name = ""
    args: dict[str, Any] = {}
    try:
        # The node's client has checked the form of topics and data.
        words = [bytes.fromhex(topic[2:]) for topic in topics]
        decoded = interface.decode_event(contract.address, words, from_hex(log["data"]))
        if decoded is not None:
            name, args = decoded.name, decoded.args
    except MalformedData:
        pass
    return Event(
        position_of(block, index),
        block,
        str(log["blockHash"]).lower(),
        str(log["transactionHash"]).lower(),
        contract,
        name,
        args,
        args.get("user"),
        args.get("provider", args.get("service") if name in _PROVIDER_IS_SERVICE else None),
    )


@cache
def _codec(role: str, kind: str) -> Mapping[str, Interface]:
    """The ABI that declares each event of a contract, by its first topic.

    A service may be of an unknown kind, or emit the events of both kinds: those of its own kind go first.
    """
    if role == LEDGER:
        names = ["LedgerManager", "BeaconProxy"]
    elif role == BEACON:
        names = ["UpgradeableBeacon"]
    elif kind == FINE_TUNING:
        names = ["FineTuningServing", "InferenceServing", "BeaconProxy"]
    else:
        names = ["InferenceServing", "FineTuningServing", "BeaconProxy"]
    found: dict[str, Interface] = {}
    for name in names:
        artifact = load(name)
        for entry in artifact.abi:
            if entry["type"] == "event":
                found.setdefault("0x" + artifact.interface.topic(entry["name"]).hex(), artifact.interface)
    return found


@cache
def all_topics() -> tuple[str, ...]:
    """The first topics of all events that are followed."""
    topics = {topic for role in (LEDGER, BEACON, "service") for topic in _codec(role, "")}
    return tuple(sorted(topics))


def args_as_text(args: Mapping[str, Any]) -> str:
    """The arguments of an event as JSON: large integers as decimal text, bytes as hexadecimal text."""
    text = json.dumps({name: _plain(value) for name, value in args.items()}, ensure_ascii=False)
    return text if len(text) <= _MOST_ARGS else json.dumps({"truncated": f"{len(text)} characters"})


def _plain(value: Any) -> Any:
    if type(value) is int:
        return value if value < _LARGEST_JSON_NUMBER else str(value)
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return value


def clean(text: str) -> str:
    """A text of a stranger as it can be stored: PostgreSQL accepts no NUL, and nobody needs megabytes."""
    if len(text) > MOST_TEXT:
        text = text[:MOST_TEXT]
    return text.replace("\0", "\ufffd") if "\0" in text else text
