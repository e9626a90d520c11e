# SPDX-License-Identifier: Apache-2.0
"""The owners' page: who owns what, which versions run, and what waits for an owner."""

from __future__ import annotations

from typing import Final

from serving_network.explorer.index.calls import COUNTED
from serving_network.explorer.index.listing import ChangeRow
from serving_network.explorer.web.cells import Kind, Link, State, Tone, span_text
from serving_network.explorer.web.page import Entry, Group, Missing, Page
from serving_network.explorer.web.pages.addresses import checked, whole
from serving_network.explorer.web.pages.events import event_table
from serving_network.explorer.web.tables import Column, Listed, Order, Table
from serving_network.explorer.web.view import View

_WAITING: Final = (
    Column("since", "Since", Kind.TIME),
    Column("provider", "Provider", Kind.PROVIDER),
    Column("service", "Service", Kind.WORD),
    Column("model", "Model", Kind.TEXT),
    Column("signer", "TEE signer", Kind.ADDRESS),
    Column("stake", "Stake", Kind.AMOUNT, "coins"),
    Column("users", "Users", Kind.COUNT, note="Users with an account who wait, too"),
)
_VERSIONS: Final = (
    Column("name", "Version", Kind.LINK),
    Column("state", "State", Kind.STATE),
    Column("registered", "Registered", Kind.TIME),
    Column("lock_time", "Lock time", Kind.SPAN, note="How long a refund is locked"),
    Column("penalty", "Penalty", Kind.SHARE, note="Of a fine-tuning task that the user does not acknowledge"),
    Column("implementation", "Implementation", Kind.ADDRESS),
    Column("description", "Description", Kind.TEXT),
)
_OWNERS: Final = (
    Column("contract", "Contract", Kind.LINK),
    Column("what", "Decides", Kind.TEXT),
    Column("owner", "Owner", Kind.ADDRESS),
    Column("offered", "Offered to", Kind.ADDRESS, note="The new owner has to accept"),
)
_CHANGES: Final = (
    Column("time", "Time", Kind.TIME),
    Column("contract", "Contract", Kind.WORD),
    Column("what", "What", Kind.TEXT),
    Column("value", "New value", Kind.ADDRESS_OR_TEXT),
    Column("state", "State", Kind.STATE),
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
)
_OF_THE_INDEX: Final = (COUNTED,)
"""Settings that the index keeps for itself."""
_UPGRADES: Final = "upgrades"
_SETTINGS: Final = "settlements, signers and settings"


def owners(view: View) -> Page:
    """What waits for an owner, what runs, and who owns it."""
    accounts, stakes = view.accounts_by_provider(), view.lists.stakes()
    rows = []
    for offer in view.reader.registered():
        key = offer.service, offer.provider
        if not offer.confirmed:
            rows.append(
                [
                    offer.since.time, offer.provider, offer.service_name, offer.model, offer.signer, stakes.get(key, 0),
                    accounts.get(key, (0, 0, 0))[0],
                ]
            )  # fmt: skip
    return Page(
        "Owners",
        "owners",
        below="Owners confirm TEE signers, change settings, and upgrade the contracts.",
        tables=[
            Table(
                "waiting",
                "Waiting for confirmation",
                _WAITING,
                Listed(rows, _WAITING),
                Order("since", falling=True),
                empty="No TEE signer waits for a confirmation.",
                note="The owner looks at each with serving signer review.",
            ),
            _versions(view),
            _owners(view),
            _changes(view),
        ],
    )


def contract(view: View, text: str) -> Page:
    """One contract of the network: its settings and events. Raises Missing."""
    address = checked(text)
    names = [one for one in view.reader.search(address) if one.kind in ("service", "contract")]
    if not names:
        raise Missing(f"{address} is not a contract of this network.")
    changes = _changes(view, address)
    return Page(
        names[0].label,
        "owners",
        f"Contract: {names[0].label}",
        whole(address, view.addresses),
        groups=_current(view, address),
        tables=[changes, event_table(view, "events", "Events", contract=address)],
    )


def _current(view: View, address: str) -> list[Group]:
    current = [one for one in view.lists.changes(address) if one.current and one.name not in _OF_THE_INDEX]
    entries = []
    for one in sorted(current, key=lambda one: one.name):
        note = "" if one.read_at is None else f"read at block {one.read_at:,}"
        entries.append(Entry(_title(one.name), Kind.ADDRESS_OR_TEXT, _value(one), note=note))
    return [Group("Settings", entries)] if entries else []


def _value(one: ChangeRow) -> str:
    """The value of a setting; a lock time as a span, a penalty as a share."""
    if one.value.isdecimal() and one.name in ("lock_time", "penalty"):
        return span_text(int(one.value)) if one.name == "lock_time" else f"{one.value} %"
    return one.value


def _title(name: str) -> str:
    return name.replace("_", " ").replace(":", ": ").capitalize()


def _versions(view: View) -> Table:
    rows = [
        [
            Link(one.name, f"/contract/{one.address}"),
            State("recommended", Tone.GOOD) if one.recommended else State("available"),
            one.registered.time,
            one.lock_time,
            None if one.penalty is None else one.penalty * 10**4,
            one.implementation,
            one.description,
        ]
        for one in view.reader.versions()
    ]
    return Table(
        "versions",
        "Versions of the services",
        _VERSIONS,
        Listed(rows, _VERSIONS),
        Order("registered", falling=True),
        empty="No service is registered. The owner registers one with:",
        next_step="serving registry register",
    )


def _owners(view: View) -> Table:
    settings = {(one.contract, one.name): one.value for one in view.lists.changes() if one.current}
    fronts = [("ledger", view.tip.ledger, "the registry of services")]
    fronts += [(one.name, one.address, _SETTINGS) for one in view.reader.versions()]
    rows = []
    for name, address, decides in fronts:
        parts = [(name, address, decides)]
        if (beacon := settings.get((name, "beacon"))) is not None:
            parts.append((f"beacon of {name}", beacon, _UPGRADES))
        for part, place, what in parts:
            owner, pending = (settings.get((part, setting)) for setting in ("owner", "pending_owner"))
            rows.append([Link(part, f"/contract/{place}"), what, owner, pending])
    return Table("owners", "Who owns what", _OWNERS, Listed(rows, _OWNERS), Order("contract", falling=False), size=50)


def _changes(view: View, address: str | None = None) -> Table:
    rows = [
        [
            one.time,
            one.contract,
            _title(one.name),
            _value(one),
            State("current", Tone.GOOD) if one.current else State("replaced"),
            one.tx,
        ]
        for one in view.lists.changes(address)
        if one.name not in _OF_THE_INDEX
    ]
    return Table(
        "changes", "Upgrades and changes of settings", _CHANGES, Listed(rows, _CHANGES), Order("time", falling=True)
    )
