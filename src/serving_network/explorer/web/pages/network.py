# SPDX-License-Identifier: Apache-2.0
"""The first page: the whole network."""

from __future__ import annotations

from typing import Final

from serving_network.explorer.index.found import Checked
from serving_network.explorer.web.cells import Kind, Link, State, Tone, count_of
from serving_network.explorer.web.page import Entry, Note, Page
from serving_network.explorer.web.pages.settlements import batch_table
from serving_network.explorer.web.plots import DAY, by_day
from serving_network.explorer.web.tables import Column, Listed, Order, Row, Table
from serving_network.explorer.web.view import View

ACTIVE_DAYS: Final = 30
_LISTED: Final = 5
_BOOKS: Final = (
    Column("contract", "Contract", Kind.LINK),
    Column("available", "Available", Kind.AMOUNT, "coins", "What users can transfer or withdraw"),
    Column("accounts", "In accounts", Kind.AMOUNT, "coins", "What users hold with providers, refunds included"),
    Column("pending", "Being refunded", Kind.AMOUNT, "coins", "The part of the accounts that users asked back"),
    Column("stakes", "Stakes", Kind.AMOUNT, "coins", "What providers deposited"),
    Column("owed", "Owed in all", Kind.AMOUNT, "coins", "The contract holds at least this"),
    Column("held", "Held when compared", Kind.AMOUNT, "coins", "The contract's own coins at that block"),
    Column("surplus", "Surplus", Kind.AMOUNT, "coins", "What it held beyond what it owed at that block"),
    Column("number", "Accounts", Kind.COUNT),
)


def network(view: View) -> Page:
    """What the network holds, what it settles, and whether something is wrong with it."""
    totals = view.reader.totals()
    days = {day: paid for day, _, paid in view.lists.days()}
    numbers = {day: number for day, number, _ in view.lists.days()}
    users, providers = view.once("active", lambda: view.lists.active_since(view.now - ACTIVE_DAYS * DAY))
    today = view.now // DAY
    week = sum(paid for day, paid in days.items() if day > today - 7)
    gas = view.once("gas", view.lists.gas_per_user)
    tiles = [
        Entry("Settled", Kind.AMOUNT, totals.paid, "coins", count_of(totals.settlements, "settlement")),
        Entry("Settled in 7 days", Kind.AMOUNT, week, "coins"),
        Entry(
            "Active users", Kind.COUNT, users, note=f"in {ACTIVE_DAYS} days, of {count_of(totals.ledgers, 'ledger')}"
        ),
        Entry(
            "Active providers",
            Kind.COUNT,
            providers,
            note=f"in {ACTIVE_DAYS} days, of {sum(one.providers for one in totals.services):,} registered",
        ),
        Entry("Held for users", Kind.AMOUNT, totals.available + totals.balances, "coins", "in the ledger and accounts"),
        Entry("Stakes", Kind.AMOUNT, totals.stakes, "coins", "of providers"),
        *_agreement(view.reader.checked()),
        *([] if gas is None else [Entry("Gas per settled user", Kind.COUNT, gas, note="median of batches")]),
    ]
    return Page(
        "Network",
        "network",
        below=f"As of block {view.tip.block:,}, from the events of the contracts.",
        notes=_health(view),
        tiles=tiles,
        plots=[
            by_day("fees", "Fees per day", "coins", days, today),
            by_day("settlements-by-day", "Settlements per day", "settlements", numbers, today, Kind.COUNT),
        ],
        tables=[_books(view), batch_table(view, "latest", "Latest settlements", size=10)],
    )


def _agreement(checked: Checked | None) -> list[Entry]:
    if checked is None:
        return []
    state = State("agrees", Tone.GOOD) if checked.agrees else State("differs", Tone.BAD)
    return [Entry("Contracts", Kind.STATE, state, note=f"compared at block {checked.block:,}")]


def _books(view: View) -> Table:
    totals, checked = view.reader.totals(), view.reader.checked()
    compared = {} if checked is None else {one.contract: (one.held, one.surplus) for one in checked.coins}
    ledger, available, unknown = view.tip.ledger, totals.available, (None, None)
    in_ledger = [available, None, None, None, available, *compared.get(ledger, unknown), totals.ledgers]
    rows: list[Row] = [[Link("ledger", f"/contract/{ledger}"), *in_ledger]]
    rows += [
        [
            Link(one.name, f"/contract/{one.service}"), None, one.balances, one.pending, one.stakes,
            one.balances + one.stakes, *compared.get(one.service, unknown), one.accounts,
        ]
        for one in totals.services
    ]  # fmt: skip
    note = "From events. Not compared with the contracts yet: serving index check"
    if checked is not None:
        note = f"From events, compared with the contracts at block {checked.block:,}."
    return Table(
        "books",
        "What the contracts hold for others",
        _BOOKS,
        Listed(rows, _BOOKS),
        Order("owed", falling=True),
        note=note,
    )


def _health(view: View) -> list[Note]:
    if view.tip.block < 0:
        return [Note("The index has not read a block yet.", Tone.WARN)]
    notes = []
    checked = view.reader.checked()
    if checked is not None and not checked.agrees:
        items = [
            f"{one.what}: {one.indexed} in the index, {one.answered} on the chain"
            for one in checked.differences[:_LISTED]
        ]
        items += [f"{one.name} holds {-one.surplus} wei less than it owes" for one in checked.coins if one.surplus < 0]
        words = f"The index differs from what the contracts answered at block {checked.block:,}:"
        notes.append(Note(words, Tone.BAD, items, "serving index check"))
    if odd := view.reader.oddities(limit=_LISTED).entries:
        items = [f"{one.contract_name} in block {one.at.block:,}: {one.what}" for one in odd]
        notes.append(Note("Some events contradict the others, or could not be decoded:", Tone.WARN, items))
    return notes
