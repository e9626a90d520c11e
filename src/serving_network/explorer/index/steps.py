# SPDX-License-Identifier: Apache-2.0
"""What a range of blocks contains, as it was read from a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving_network.contracts.codec import Decoded
    from serving_network.explorer.index.events import Event, Followed
    from serving_network.explorer.index.questions import Answer, Asked
    from serving_network.explorer.index.settled import Group, Signed


@dataclass(frozen=True, slots=True)
class Header:
    """A block."""

    number: int
    hash: str
    time: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction with events. `call` is decoded if it calls a followed contract, `signed` if it settles rows."""

    hash: str
    sender: str
    recipient: str | None
    value: int
    input: bytes
    call: Decoded | None = None
    signed: Signed | None = None
    gas_used: int | None = None
    gas_cost: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a range of blocks contains, up to block `last`.

    `logs` is how many there are in the whole range that was asked for. `groups` are the settled rows among the events,
    `found` contracts that the events announce; all their earlier events are included.
    """

    last: Header
    logs: int
    events: tuple[Event, ...]
    blocks: Mapping[int, Header]
    transactions: Mapping[str, Transaction]
    groups: tuple[Group, ...] = ()
    found: tuple[Followed, ...] = ()
    answers: Mapping[Asked, Answer] = field(default_factory=dict)
