# SPDX-License-Identifier: Apache-2.0
"""Events as they are on the chain, and the pages of transactions and blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from serving_network.explorer.index.found import CallFound
from serving_network.explorer.web.cells import Kind, Link, iso_time
from serving_network.explorer.web.page import Entry, Group, Missing, Note, Page
from serving_network.explorer.web.pages.addresses import whole
from serving_network.explorer.web.pages.settlements import batch_table
from serving_network.explorer.web.tables import Column, Listed, Order, Queried, Row, Table
from serving_network.explorer.web.view import View
from serving_network.money import format_coins

HASH: Final = re.compile("0x[0-9a-fA-F]{64}")
AMOUNTS: Final = frozenset(
    {
        "amount", "availableBalance", "balance", "balances", "cancelledRefund", "fee", "paid", "pendingRefund",
        "pendingRefunds", "refundedAmount", "unsettledAmount", "totalFee",
    }
)  # fmt: skip
"""Arguments that are amounts in wei."""
_PRICES: Final = frozenset({"inputPrice", "outputPrice", "pricePerToken"})
"""Arguments that are prices of a unit in wei."""
_TIMES: Final = frozenset({"createdAt", "registeredAt", "updatedAt"})
"""Arguments that are times in unix seconds."""
_LONGEST: Final = 400
_EVENTS: Final = (
    Column("time", "Time", Kind.TIME),
    Column("event", "Event", Kind.WORD, sortable=False),
    Column("contract", "Contract", Kind.WORD, sortable=False),
    Column("user", "User", Kind.USER, sortable=False),
    Column("provider", "Provider", Kind.PROVIDER, sortable=False),
    Column("arguments", "Arguments", Kind.LONG_TEXT, sortable=False),
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
)
_CALLS: Final = (
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
    Column("sender", "From", Kind.ADDRESS),
    Column("contract", "To", Kind.WORD),
    Column("function", "Function", Kind.WORD),
    Column("value", "Value", Kind.AMOUNT, "coins"),
    Column("order", "Order", Kind.COUNT),
)
_ARGUMENTS: Final = (
    Column("order", "", Kind.COUNT),
    Column("name", "Argument", Kind.TEXT),
    Column("value", "Value", Kind.LONG_TEXT),
)


def activity(view: View) -> Page:
    """All events."""
    return Page(
        "Activity",
        "activity",
        below="Every event of the contracts, newest first.",
        tables=[event_table(view, "events", "Events")],
    )


def transaction(view: View, hash_: str) -> Page:
    """One transaction with its decoded call. Raises Missing."""
    found = view.reader.transaction(hash_) if HASH.fullmatch(hash_) else None
    if found is None:
        raise Missing("The index has no transaction with this hash that changed anything on this network.")
    entries = [
        Entry("Block", Kind.LINK, Link(f"{found.at.block:,}", f"/block/{found.at.block}")),
        Entry("Time", Kind.TIME, found.at.time),
        Entry("From", Kind.ADDRESS, found.sender),
        Entry("To", Kind.ADDRESS, found.recipient, note=found.contract_name or "not a contract of this network"),
        Entry("Value", Kind.AMOUNT, found.value, "coins"),
        Entry("Function", Kind.TEXT, found.function, note="" if found.function else "not known to this explorer"),
        Entry("Input", Kind.COUNT, len(found.input), "bytes"),
    ]
    if found.gas_used is not None:
        entries.append(Entry("Gas", Kind.COUNT, found.gas_used))
        entries.append(Entry("Gas cost", Kind.AMOUNT, found.gas_cost, "coins"))
    notes = []
    if found.contract_name is None:
        notes.append(Note("The transaction was sent to another contract, which called this network."))
    batches = [batch_table(view, "settlements", "Settlements", tx=found.hash)]
    return Page(
        f"Transaction {found.hash[:10]}",
        "activity",
        "Transaction",
        whole(found.hash),
        notes=notes,
        groups=[Group("Transaction", entries)],
        tables=[
            *(_argument_table(found) if found.args else []),
            *(batches if view.lists.count_batches(tx=found.hash) else []),
            event_table(view, "events", "Events", tx=found.hash),
        ],
    )


def block(view: View, text: str) -> Page:
    """The transactions of one block. Raises Missing."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 13 else -1
    calls = view.reader.transactions(block=number, limit=1_000).entries if number >= 0 else ()
    if not calls:
        raise Missing("No transaction in this block changed anything on this network, or the index has not read it.")
    rows = [
        [one.hash, one.sender, one.contract_name or one.recipient, one.function, one.value, one.at.log_index]
        for one in calls
    ]
    return Page(
        f"Block {number:,}",
        "activity",
        "Block",
        f"{number:,}",
        groups=[Group("Block", [Entry("Time", Kind.TIME, calls[0].at.time)])],
        tables=[Table("transactions", "Transactions", _CALLS, Listed(rows, _CALLS), Order("order", falling=False))],
    )


def event_table(view: View, id_: str, title: str, **where: str) -> Table:
    """Events with these values: of a user (`user_address`), a provider, a contract or a transaction (`tx`), or all."""
    lists = view.lists
    return Table(
        id_,
        title,
        _EVENTS,
        Queried(
            lambda: lists.count_events(**where),
            lambda order, offset, limit: [
                [one.time, one.name, one.contract, one.user, one.provider, arguments(one.args), one.tx]
                for one in lists.events(order.falling, offset, limit, **where)
            ],
        ),
        Order("time", falling=True),
        empty="No events yet.",
    )


def arguments(args: Mapping[str, Any]) -> str:
    """The arguments of an event that have no column of their own, on one line."""
    parts = [f"{name} {_written(name, value)}" for name, value in args.items() if name not in ("user", "provider")]
    return ", ".join(parts)[:_LONGEST]


def _argument_table(found: CallFound) -> list[Table]:
    rows: list[Row] = [
        [place, name, _written(name, value)] for place, (name, value) in enumerate((found.args or {}).items())
    ]
    return [
        Table(
            "arguments",
            f"Call of {found.function}",
            _ARGUMENTS,
            Listed(rows, _ARGUMENTS),
            Order("order", falling=False),
            empty="The function takes no arguments.",
        )
    ]


def _written(name: str, value: Any) -> str:
    if isinstance(value, (int, str)) and str(value).isdecimal():
        if name in AMOUNTS:
            return f"{format_coins(int(value))} coins"
        if name in _PRICES:
            return f"{value} wei"
        if name in _TIMES:
            return iso_time(int(value))
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=_json)


def _json(value: Any) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
