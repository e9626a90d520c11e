# SPDX-License-Identifier: Apache-2.0
"""Settlements in one transaction: which rows belong together, who was paid, and what was signed.

Events do not say what was signed; calldata does. The calldata belongs to a group of rows if the transaction called the
service itself and its rows name the same users in the same order. All other groups were called through a contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from serving_network.clients.read.settlement_calls import FUNCTIONS, RESULT_EVENTS, Form, rows_in, settlements_in

if TYPE_CHECKING:
    from serving_network.contracts.codec import Decoded
    from serving_network.explorer.index.events import Event
    from serving_network.messages.typed_data import UserSettlement


MISMATCH: Final = "the calldata does not match the events"


@dataclass(slots=True)
class Group:
    """Rows that were settled by one call, each with its provider if it is known.

    `ends` is the position of the last event that belongs to the group. `signed` is None for a call through a contract.
    """

    form: Form
    rows: list[tuple[Event, str | None]]
    provider: str | None
    ends: int
    signed: Sequence[UserSettlement] | None = None
    complaint: str | None = None

    @property
    def users(self) -> list[str | None]:
        return [event.user for event, _ in self.rows]


@dataclass(frozen=True, slots=True)
class Signed:
    """What calldata settles: rows of a batch, or entries."""

    form: Form
    rows: Sequence[UserSettlement]


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction, as far as settlements are concerned: its sender, and what it settles if it calls this service."""

    sender: str
    signed: Signed | None = None


def signed_in(data: bytes) -> Signed | None:
    """The rows of a batch in calldata, if it is encoded as it usually is."""
    rows = rows_in(data)
    return None if rows is None else Signed("batch", rows)


def signed_by_call(call: Decoded | None) -> Signed | None:
    """What a decoded call settles."""
    rows = settlements_in(call)
    return (
        Signed("batch" if call is not None and call.name == FUNCTIONS["batch"] else "entries", rows) if rows else None
    )


@dataclass(slots=True)
class _Collected:
    groups: list[Group] = field(default_factory=list)
    rows: list[Event] = field(default_factory=list)
    entries: list[tuple[Event, str | None]] = field(default_factory=list)


def groups_of(events: Iterable[Event], sent: Sent) -> list[Group]:
    """The groups of settled rows among the events of one service in one transaction."""
    found = _Collected()
    before: Event | None = None
    for event in events:
        if event.name == RESULT_EVENTS["batch"]:
            found.rows.append(event)
        elif event.name == "BatchSettled":
            provider, size = event.args["provider"], len(found.rows)
            complaint = f"{size} rows precede a BatchSettled of {event.args['rows']}"
            group = Group("batch", [(row, provider) for row in found.rows], provider, event.position)
            group.complaint = None if event.args["rows"] == size else complaint
            found.groups.append(group)
            found.rows = []
        elif event.name == RESULT_EVENTS["entries"]:
            found.entries.append((event, _payer(before, event)))
        before = event
    if found.rows:
        last = found.rows[-1].position
        lost: list[tuple[Event, str | None]] = [(row, None) for row in found.rows]
        found.groups.append(Group("batch", lost, None, last, complaint="no BatchSettled follows these rows"))
    _attach(found, sent)
    return found.groups


def _payer(before: Event | None, entry: Event) -> str | None:
    """The provider of an entry that was paid: BalanceUpdated, which comes right before its result, names it."""
    if before is None or before.name != "BalanceUpdated" or before.position != entry.position - 1:
        return None
    return before.provider if before.user == entry.user else None


def _attach(found: _Collected, sent: Sent) -> None:
    """Attach what was signed to the group that the transaction's calldata settled, and group the other entries."""
    entries, complaint = found.entries, None
    if sent.signed is not None and sent.signed.form == "entries":
        rows = sent.signed.rows
        own = entries[: len(rows)]
        if [event.user for event, _ in own] == [row.user for row in rows]:
            settled: list[tuple[Event, str | None]] = [(event, sent.sender) for event, _ in own]
            found.groups.append(Group("entries", settled, sent.sender, own[-1][0].position, rows))
            entries = entries[len(rows) :]
        else:
            complaint = MISMATCH
    elif sent.signed is not None:
        users = [row.user for row in sent.signed.rows]
        for group in found.groups:
            if group.provider == sent.sender and group.users == users:
                group.signed = sent.signed.rows
                break
        else:
            for group in found.groups:
                group.complaint = group.complaint or MISMATCH
    found.groups += _grouped(entries, complaint)


def _grouped(entries: Sequence[tuple[Event, str | None]], complaint: str | None) -> list[Group]:
    """Entries that came through contracts. An entry without a known provider joins its neighbours."""
    groups: list[Group] = []
    for event, provider in entries:
        last = groups[-1] if groups else None
        if last is None or (None not in (provider, last.provider) and provider != last.provider):
            groups.append(Group("entries", [], None, 0, complaint=complaint))
        group = groups[-1]
        group.rows.append((event, provider))
        group.provider = group.provider or provider
        group.ends = event.position
    return groups
