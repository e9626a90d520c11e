# SPDX-License-Identifier: Apache-2.0
"""Log criteria, filters that clients poll, and subscriptions that are pushed to clients."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serving_network.errors import RpcError

from .blocks import Block
from .core import MinedLog, block_logs
from .transactions import INVALID_INPUT, DecodedTransaction
from .wire import header_json, hexed, invalid, log_json, read_address, read_hash, transaction_json

HEADS, LOGS, PENDING = "newHeads", "logs", "newPendingTransactions"
FORGOTTEN_AFTER_SECONDS = 300.0

Push = Callable[[str, Any], None]
"""Called with the id of a subscription and the notification's content."""


@dataclass(frozen=True)
class Criteria:
    """Selects logs by address (empty: all addresses) and by topic at each position (None: any topic)."""

    addresses: frozenset[bytes]
    topics: tuple[frozenset[bytes] | None, ...]

    @classmethod
    def read(cls, asked: Mapping[str, Any]) -> Criteria:
        """Parse the JSON object of `eth_getLogs`, without its block range."""
        addresses = asked.get("address") or []
        if isinstance(addresses, str):
            addresses = [addresses]
        topics = asked.get("topics") or []
        if not isinstance(addresses, list) or not isinstance(topics, list):
            raise invalid("address must be an address or a list, topics must be a list")
        return cls(
            frozenset(read_address(address) for address in addresses),
            tuple(_read_topic(topic) for topic in topics),
        )

    def matches(self, mined: MinedLog) -> bool:
        log = mined.log
        if self.addresses and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(wanted is None or topic in wanted for wanted, topic in zip(self.topics, log.topics, strict=False))

    def pick(self, logs: Iterable[MinedLog]) -> list[dict[str, Any]]:
        """The matching logs as JSON."""
        return [log_json(mined) for mined in logs if self.matches(mined)]


def _read_topic(topic: Any) -> frozenset[bytes] | None:
    if topic is None or topic == []:
        return None
    choices = topic if isinstance(topic, list) else [topic]
    if None in choices:
        return None
    return frozenset(read_hash(choice, "topic") for choice in choices)


@dataclass
class _Filter:
    kind: str
    criteria: Criteria | None
    asked: Mapping[str, Any]
    changes: list[Any]
    last_asked: float


@dataclass(frozen=True)
class _Subscription:
    kind: str
    criteria: Criteria | None
    full: bool
    push: Push


class Events:
    """All filters and subscriptions of a chain. `notify` must be called with every new and every undone block.

    A filter that was not polled for five minutes, measured by `clock`, is removed, as on other nodes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._filters: dict[str, _Filter] = {}
        self._subscriptions: dict[str, _Subscription] = {}

    def notify(self, block: Block, undone: bool) -> None:
        logs = list(block_logs(block, removed=undone))
        oldest = self._clock() - FORGOTTEN_AFTER_SECONDS
        self._filters = {name: kept for name, kept in self._filters.items() if kept.last_asked >= oldest}
        for waiting in self._filters.values():
            if waiting.criteria is not None:
                waiting.changes += waiting.criteria.pick(logs)
            elif waiting.kind == HEADS and not undone:
                waiting.changes.append(hexed(block.hash))
        for name, one in list(self._subscriptions.items()):
            if one.criteria is not None:
                for shown in one.criteria.pick(logs):
                    one.push(name, shown)
            elif one.kind == HEADS and not undone:
                one.push(name, header_json(block))

    def arrived(self, transaction: DecodedTransaction) -> None:
        """Notify of a transaction that is pending now."""
        shown = hexed(transaction.hash)
        for waiting in self._filters.values():
            if waiting.kind == PENDING:
                waiting.changes.append(shown)
        for name, one in list(self._subscriptions.items()):
            if one.kind == PENDING:
                one.push(name, transaction_json(transaction, None) if one.full else shown)

    # Filters

    def new_filter(self, asked: Mapping[str, Any]) -> str:
        """Create a filter for logs. Returns its id."""
        return self._add(_Filter(LOGS, Criteria.read(asked), asked, [], self._clock()))

    def new_block_filter(self) -> str:
        """Create a filter for the hashes of new blocks. Returns its id."""
        return self._add(_Filter(HEADS, None, {}, [], self._clock()))

    def new_pending_filter(self) -> str:
        """Create a filter for the hashes of pending transactions. Returns its id."""
        return self._add(_Filter(PENDING, None, {}, [], self._clock()))

    def _add(self, wanted: _Filter) -> str:
        name = hex(next(self._numbers))
        self._filters[name] = wanted
        return name

    def changes(self, name: Any) -> list[Any]:
        """The changes since the last poll."""
        waiting = self._filter(name)
        changes, waiting.changes = waiting.changes, []
        return changes

    def asked_for(self, name: Any) -> Mapping[str, Any]:
        """The criteria of a log filter."""
        waiting = self._filter(name)
        if waiting.criteria is None:
            raise RpcError(INVALID_INPUT, "filter not found")
        return waiting.asked

    def uninstall(self, name: Any) -> bool:
        return self._filters.pop(_normal(name), None) is not None

    def _filter(self, name: Any) -> _Filter:
        waiting = self._filters.get(_normal(name))
        if waiting is None:
            raise RpcError(INVALID_INPUT, "filter not found")
        waiting.last_asked = self._clock()
        return waiting

    # Subscriptions

    def subscribe(self, kind: Any, asked: Any, push: Push) -> str:
        """Call `push` for every new head, matching log or pending transaction. Returns the id of the subscription."""
        if kind not in (HEADS, LOGS, PENDING):
            raise RpcError(
                INVALID_INPUT,
                f'no "{kind}" subscription in eth namespace; {HEADS}, {LOGS} and {PENDING} are available',
            )
        criteria = Criteria.read(asked if isinstance(asked, Mapping) else {}) if kind == LOGS else None
        name = hex(next(self._numbers))
        self._subscriptions[name] = _Subscription(kind, criteria, asked is True, push)
        return name

    def unsubscribe(self, name: Any) -> bool:
        return self._subscriptions.pop(_normal(name), None) is not None


def _normal(name: Any) -> str:
    """The canonical form of an id, which clients may pad with zeros."""
    try:
        return hex(int(name, 16)) if isinstance(name, str) else ""
    except ValueError:
        return ""
