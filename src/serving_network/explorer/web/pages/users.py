# SPDX-License-Identifier: Apache-2.0
"""Users: all, and one with every coin of it."""

from __future__ import annotations

from typing import Final

from markupsafe import Markup

from serving_network.explorer.index.found import AccountFound
from serving_network.explorer.web.cells import Kind, count_of, shown
from serving_network.explorer.web.page import Branch, Entry, Group, Missing, Page
from serving_network.explorer.web.pages.addresses import checked, whole
from serving_network.explorer.web.pages.events import event_table
from serving_network.explorer.web.pages.settlements import settled_table
from serving_network.explorer.web.plots import DAY, by_day
from serving_network.explorer.web.tables import Column, Listed, Order, Table
from serving_network.explorer.web.view import View

_MOST_ACCOUNTS: Final = 1_000
_USERS: Final = (
    Column("user", "User", Kind.USER),
    Column("total", "Total", Kind.AMOUNT, "coins"),
    Column("available", "Available", Kind.AMOUNT, "coins", "In the ledger"),
    Column("in_accounts", "In accounts", Kind.AMOUNT, "coins", "With providers"),
    Column("pending", "Being refunded", Kind.AMOUNT, "coins", "The part of the accounts that was asked back"),
    Column("accounts", "Accounts", Kind.COUNT),
    Column("settlements", "Settlements", Kind.COUNT),
    Column("paid", "Paid", Kind.AMOUNT, "coins"),
)
_SPENDING: Final = (
    Column("provider", "Provider", Kind.PROVIDER),
    Column("settlements", "Settlements", Kind.COUNT),
    Column("paid", "Paid", Kind.AMOUNT, "coins"),
    Column("share", "Share", Kind.SHARE),
)
_DELIVERABLES: Final = (
    Column("added", "Added", Kind.TIME),
    Column("provider", "Provider", Kind.PROVIDER),
    Column("id", "Deliverable", Kind.TEXT),
    Column("state", "State", Kind.WORD),
    Column("paid", "Paid", Kind.AMOUNT, "coins"),
    Column("transaction", "Last change", Kind.TRANSACTION, sortable=False),
)


def users(view: View) -> Page:
    """Everyone who has a ledger or an account, or has paid."""
    rows = [
        [one.user, one.total, one.available, one.in_accounts, one.pending, one.accounts, one.settlements, one.paid]
        for one in view.users()
    ]
    return Page(
        "Users",
        "users",
        below="A user's coins are available in the ledger, or in accounts with providers.",
        tables=[
            Table(
                "users",
                "All users",
                _USERS,
                Listed(rows, _USERS),
                Order("paid", falling=True),
                empty="Nobody has opened a ledger yet. A user does so with:",
                next_step='serving ledger open "10 coins"',
            )
        ],
    )


def user(view: View, text: str) -> Page:
    """One user. Raises Missing."""
    address = checked(text)
    ledger = view.reader.ledger(address)
    counted = view.lists.with_accounts()
    accounts = tuple(
        one for one in view.reader.accounts(user=address, limit=_MOST_ACCOUNTS).entries if one.service in counted
    )
    days, by_provider = view.lists.spending(address)
    if ledger is None and not accounts and not view.lists.count_events(user_address=address):
        raise Missing(f"{address} has never been a user of this network.")
    available = 0 if ledger is None else ledger.available
    held = 0 if ledger is None else ledger.held
    in_accounts = sum(one.balance for one in accounts)
    pending = sum(one.pending for one in accounts)
    paid = sum(paid for _, _, paid in by_provider)
    found = view.reader.deliverables(user=address, limit=_MOST_ACCOUNTS).entries
    rows = [[one.added_at, one.provider, one.id, one.state, one.paid, one.since.tx] for one in found]
    deliverables = Table(
        "deliverables", "Fine-tuned models", _DELIVERABLES, Listed(rows, _DELIVERABLES), Order("added", falling=True)
    )
    return Page(
        f"User {address[:8]}",
        "users",
        "User",
        whole(address, view.addresses),
        tiles=[
            Entry("Total", Kind.AMOUNT, available + in_accounts + held, "coins"),
            Entry("Available", Kind.AMOUNT, available, "coins", "in the ledger"),
            Entry("In accounts", Kind.AMOUNT, in_accounts, "coins", f"in {count_of(len(accounts), 'account')}"),
            Entry("Being refunded", Kind.AMOUNT, pending, "coins", "of the accounts"),
            Entry("Paid", Kind.AMOUNT, paid, "coins", "to providers so far"),
        ],
        tree=_tree(view, available, held, accounts),
        groups=[] if ledger is None or not ledger.info else [
            Group("Ledger", [Entry("Additional information", Kind.LONG_TEXT, ledger.info)])
        ],
        plots=[by_day("spending-by-day", "Spending per day", "coins", dict(days), view.now // DAY)],
        tables=[
            Table(
                "spending",
                "Spending by provider",
                _SPENDING,
                Listed([[one, number, wei, wei * 10**6 // (paid or 1)] for one, number, wei in by_provider], _SPENDING),
                Order("paid", falling=True),
                empty="This user has not paid a provider yet.",
            ),
            settled_table(view, address),
            *([deliverables] if rows else []),
            event_table(view, "events", "Events", user_address=address),
        ],
    )  # fmt: skip


def _tree(view: View, available: int, held: int, accounts: tuple[AccountFound, ...]) -> Branch:
    """All coins of a user, and where they are."""
    by_balance = sorted(accounts, key=lambda one: -one.balance)
    parts = [Branch("Available in the ledger", available, "can be withdrawn or transferred now")]
    if held:
        parts.append(Branch("In services without an account book", held))
    parts += [_account(view, one) for one in by_balance if one.balance or one.pending]
    return Branch("All coins", sum(one.wei for one in parts), parts=parts)


def _account(view: View, one: AccountFound) -> Branch:
    words = Markup('{} <span class="muted">{}</span>').format(
        shown(Kind.PROVIDER, one.provider, {address: name for name, address in view.addresses.items()}),
        one.service_name,
    )
    if not one.refunds:
        return Branch(words, one.balance)
    parts = [Branch("For the provider", one.balance - one.pending)]
    for refund in one.refunds:
        if refund.unlocks_at is None:
            parts.append(Branch("Being refunded", refund.amount))
        elif refund.unlocks_at <= view.now:
            parts.append(
                Branch("Refund, unlocked", refund.amount, "can be collected: serving ledger retrieve PROVIDER")
            )
        else:
            until = Markup("locked until {}").format(shown(Kind.TIME, refund.unlocks_at, {}))
            parts.append(Branch("Being refunded", refund.amount, until))
    return Branch(words, one.balance, parts=parts)
