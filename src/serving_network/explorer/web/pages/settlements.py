# SPDX-License-Identifier: Apache-2.0
"""Settlements: all batches, and one with its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from serving_network.contracts.models import Status
from serving_network.explorer.index.listing import BatchRow, SettledRow
from serving_network.explorer.web.cells import Kind, Link, State, Tone, count_of
from serving_network.explorer.web.page import Entry, Group, Missing, Note, Page
from serving_network.explorer.web.tables import ROWS, Column, Order, Queried, Row, Table
from serving_network.explorer.web.view import View

STATUSES: Final[Mapping[int, State]] = {
    Status.SUCCESS: State("paid in full", Tone.GOOD),
    Status.PARTIAL: State("paid in part", Tone.WARN),
    Status.PROVIDER_MISMATCH: State("another provider", Tone.BAD),
    Status.NO_TEE_SIGNER: State("no TEE signer", Tone.BAD),
    Status.INVALID_NONCE: State("nonce used", Tone.BAD),
    Status.INVALID_SIGNATURE: State("invalid signature", Tone.BAD),
}
_UNKNOWN: Final = State("unknown", Tone.BAD)
_TASK: Final = {0: State("paid in full", Tone.GOOD), 1: State("penalty", Tone.WARN)}

_BATCHES: Final = (
    Column("time", "Time", Kind.TIME),
    Column("settlement", "Settlement", Kind.LINK, sortable=False),
    Column("provider", "Provider", Kind.PROVIDER, sortable=False),
    Column("service", "Service", Kind.WORD, sortable=False),
    Column("rows", "Users", Kind.COUNT, note="Rows of the batch: one for each user"),
    Column("accepted", "Accepted", Kind.STATE, sortable=False),
    Column("paid", "Paid", Kind.AMOUNT, "coins"),
    Column("fee", "Signed", Kind.AMOUNT, "coins", "The sum of the fees that the TEE signed"),
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
)
_OF_PROVIDER: Final = tuple(one for one in _BATCHES if one.key != "provider")
_SETTLED: Final = (
    Column("time", "Time", Kind.TIME),
    Column("provider", "Provider", Kind.PROVIDER, sortable=False),
    Column("service", "Service", Kind.WORD, sortable=False),
    Column("status", "Status", Kind.STATE),
    Column("paid", "Paid", Kind.AMOUNT, "coins"),
    Column("fee", "Signed", Kind.AMOUNT, "coins", "The fee that the TEE signed"),
    Column("nonce", "Nonce", Kind.COUNT, sortable=False),
    Column("settlement", "Settlement", Kind.LINK, sortable=False),
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
)
_ROWS: Final = (
    Column("user", "User", Kind.USER, sortable=False),
    Column("status", "Status", Kind.STATE),
    Column("paid", "Paid", Kind.AMOUNT, "coins"),
    Column("fee", "Signed", Kind.AMOUNT, "coins", "The fee that the TEE signed"),
    Column("unpaid", "Not paid", Kind.AMOUNT, "coins", sortable=False),
    Column("nonce", "Nonce", Kind.COUNT, sortable=False),
    Column("time", "Order", Kind.COUNT, note="The place of the row in its block"),
)


def settlements(view: View) -> Page:
    """All batches."""
    return Page(
        "Settlements",
        "settlements",
        below="Each settlement pays one provider for many users, in one transaction.",
        tables=[batch_table(view, "settlements", "All settlements")],
    )


def settlement(view: View, key: str) -> Page:
    """One batch. Raises Missing."""
    found = view.reader.batch(int(key)) if key.isascii() and key.isdecimal() and len(key) < 19 else None
    if found is None:
        raise Missing("The index has no settlement with this number.")
    statuses = Counter(view.lists.statuses(found.key))
    call = view.reader.transaction(found.at.tx)
    notes = []
    if found.through_contract:
        notes.append(
            Note("Called through a contract: the signed fees and nonces are not in the transaction's input.", Tone.WARN)
        )
    unpaid = None if found.fee is None else found.fee - found.paid
    entries = [
        Entry("Provider", Kind.PROVIDER, found.provider),
        Entry("Service", Kind.TEXT, found.service_name),
        Entry("Time", Kind.TIME, found.at.time),
        Entry("Block", Kind.BLOCK, found.at.block),
        Entry("Transaction", Kind.TRANSACTION, found.at.tx),
        Entry("Sent by", Kind.ADDRESS, None if call is None else call.sender),
        Entry("Form", Kind.TEXT, "one signature for the batch" if found.form == "batch" else "a signature per user"),
    ]
    if found.gas_used is not None:
        note = f"{found.gas_used // max(1, found.size):,} for each user"
        entries.append(Entry("Gas of the transaction", Kind.COUNT, found.gas_used, note=note))
        entries.append(Entry("Gas cost", Kind.AMOUNT, found.gas_cost, "coins"))
    return Page(
        f"Settlement {found.key}",
        "settlements",
        "Settlement",
        f"{count_of(found.size, 'user')}, block {found.at.block:,}",
        notes=notes,
        tiles=[
            Entry("Paid", Kind.AMOUNT, found.paid, "coins"),
            Entry("Signed", Kind.AMOUNT, found.fee, "coins" if found.fee is not None else ""),
            Entry("Not paid", Kind.AMOUNT, unpaid, "coins" if unpaid is not None else ""),
            Entry("Accepted", Kind.COUNT, found.accepted, note=f"of {count_of(found.size, 'user')}"),
        ],
        groups=[
            Group("Settlement", entries),
            Group(
                "Results",
                [Entry(status_of(found.form, one).word, Kind.COUNT, n) for one, n in sorted(statuses.items())],
            ),
        ],
        tables=[_rows_table(view, found.key)],
    )


def batch_table(
    view: View, id_: str, title: str, *, size: int = ROWS, provider: str | None = None, tx: str | None = None
) -> Table:
    """Batches, of one provider or transaction, or all."""
    where: dict[str, Any] = {"provider": provider} if provider else {"tx": tx} if tx else {}
    columns = _BATCHES if provider is None else _OF_PROVIDER
    lists = view.lists
    return Table(
        id_,
        title,
        columns,
        Queried(
            lambda: lists.count_batches(**where),
            lambda order, offset, limit: [
                _batch(one, with_provider=provider is None)
                for one in lists.batches(order.key, order.falling, offset, limit, **where)
            ],
        ),
        Order("time", falling=True),
        empty="Nothing has been settled yet. A provider settles with:",
        next_step="serving settle usage.jsonl",
        size=size,
    )


def settled_table(view: View, user: str) -> Table:
    """What a user paid and was asked to pay."""
    return Table(
        "settled",
        "Settlements",
        _SETTLED,
        _settled_rows(view, _settled, user_address=user),
        Order("time", falling=True),
        empty="No provider has settled with this user yet.",
    )


def status_of(form: str, status: int) -> State:
    """The status of a row in words."""
    return _TASK.get(status, _UNKNOWN) if form == "task" else STATUSES.get(status, _UNKNOWN)


def _rows_table(view: View, key: int) -> Table:
    return Table(
        "rows",
        "Users",
        _ROWS,
        _settled_rows(view, _row, batch=key),
        Order("time", falling=False),
        size=50,
    )


def settlement_link(key: int | None) -> Link | None:
    """The link to a batch by its key."""
    return None if key is None else Link(f"{key >> 20}-{key % (1 << 20)}", f"/settlement/{key}")


def _batch(one: BatchRow, *, with_provider: bool) -> Row:
    whole = one.accepted == one.size
    state = State("all" if whole else f"{one.accepted:,} of {one.size:,}", Tone.GOOD if whole else Tone.WARN)
    provider = [one.provider] if with_provider else []
    return [
        one.time, settlement_link(one.position), *provider, one.service, one.size, state, one.paid, one.fee, one.tx,
    ]  # fmt: skip


def _settled_rows(view: View, shown: Callable[[SettledRow], Row], **where: Any) -> Queried:
    """Settled rows with these values in these columns, each as `shown`."""
    lists = view.lists
    return Queried(
        lambda: lists.count_settled(**where),
        lambda order, offset, limit: [
            shown(one) for one in lists.settled(order.key, order.falling, offset, limit, **where)
        ],
    )


def _settled(one: SettledRow) -> Row:
    return [
        one.time, one.provider, one.service, status_of(one.form, one.status), one.paid, one.fee, one.nonce,
        settlement_link(one.batch), one.tx,
    ]  # fmt: skip


def _row(one: SettledRow) -> Row:
    unpaid = None if one.fee is None else one.fee - one.paid
    return [one.user, status_of(one.form, one.status), one.paid, one.fee, unpaid, one.nonce, one.position % (1 << 20)]
