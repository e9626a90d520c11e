# SPDX-License-Identifier: Apache-2.0
"""One provider: what it sells, earns and risks."""

from __future__ import annotations

from collections import Counter
from typing import Final

from serving_network.contracts.models import FINE_TUNING
from serving_network.explorer.index.found import OfferVersion
from serving_network.explorer.web.cells import Kind, Link, State, Tone, count_of
from serving_network.explorer.web.page import Entry, Group, Missing, Note, Page
from serving_network.explorer.web.pages.addresses import checked, whole
from serving_network.explorer.web.pages.events import event_table
from serving_network.explorer.web.pages.providers import (
    NO_SETTLEMENTS,
    partial_share,
    signer_state,
    verifiability,
)
from serving_network.explorer.web.pages.settlements import batch_table
from serving_network.explorer.web.plots import DAY, Plot, Series, Shape, by_day
from serving_network.explorer.web.tables import Column, Listed, Order, Queried, Table
from serving_network.explorer.web.view import View

_MOST_VERSIONS: Final = 1_000
_HISTORY: Final = (
    Column("since", "Since", Kind.TIME),
    Column("service", "Service", Kind.WORD),
    Column("model", "Model", Kind.TEXT),
    Column("input_price", "Input", Kind.PRICE, "/ 1M", "Coins for a million tokens"),
    Column("output_price", "Output", Kind.PRICE, "/ 1M", "Coins for a million tokens"),
    Column("signer", "TEE signer", Kind.ADDRESS),
    Column("confirmed", "Confirmed", Kind.FLAG),
    Column("until", "Now", Kind.STATE),
    Column("transaction", "Transaction", Kind.TRANSACTION, sortable=False),
)
_ACCOUNTS: Final = (
    Column("user", "User", Kind.USER),
    Column("service", "Service", Kind.WORD, sortable=False),
    Column("balance", "Balance", Kind.AMOUNT, "coins"),
    Column("pending", "Being refunded", Kind.AMOUNT, "coins", "The user can collect it after the lock time"),
    Column("unlocks", "Unlocks", Kind.TIME, note="When the first refund can be collected", sortable=False),
    Column("acknowledged", "Acknowledged", Kind.FLAG, note="Whether the user accepts the TEE signer", sortable=False),
)


def provider(view: View, text: str) -> Page:
    """One provider. Raises Missing."""
    address = checked(text)
    versions = view.reader.offers(address, limit=_MOST_VERSIONS).entries
    accounts = {service: found for (service, one), found in view.accounts_by_provider().items() if one == address}
    if not versions and not accounts:
        raise Missing(f"{address} has never registered a service on this network.")
    stats = [found for (_, one), found in view.provider_stats().items() if one == address]  # fmt: skip
    days = {day: paid for day, _, paid in view.lists.days(address)}
    stakes = {service: found for (service, one), found in view.lists.stakes().items() if one == address}
    today = view.now // DAY
    accepted = sum(one.accepted for one in stats)
    merged = NO_SETTLEMENTS._replace(accepted=accepted, partial=sum(one.partial for one in stats))
    pending = sum(one[2] for one in accounts.values())
    current = [one for one in versions if one.until is None]
    tiles = [
        Entry("Earned", Kind.AMOUNT, sum(days.values()), "coins", count_of(accepted, "settlement")),
        Entry("In 30 days", Kind.AMOUNT, sum(paid for day, paid in days.items() if day > today - 30), "coins"),
        Entry("In users' accounts", Kind.AMOUNT, sum(one[1] for one in accounts.values()), "coins",
              count_of(sum(one[0] for one in accounts.values()), "account")),
        Entry("Being refunded", Kind.AMOUNT, pending, "coins", "at risk for what is not settled yet"),
        Entry("Paid in part", Kind.SHARE, partial_share(merged), note="of accepted settlements"),
        Entry("Stake", Kind.AMOUNT, sum(stakes.values()), "coins"),
    ]  # fmt: skip
    return Page(
        f"Provider {address[:8]}",
        "providers",
        "Provider",
        whole(address, view.addresses),
        notes=_notes(view, address, current),
        tiles=tiles,
        groups=[Group(one.service_name, _facts(view, one)) for one in current],
        plots=[by_day("earnings", "Earnings per day", "coins", days, today), *_price_plots(view, versions)],
        tables=[
            batch_table(view, "settlements", "Settlements", provider=address),
            _accounts_table(view, address),
            _history_table(versions),
            event_table(view, "events", "Events", provider=address),
        ],
    )


def _notes(view: View, address: str, current: list[OfferVersion]) -> list[Note]:
    notes = []
    if not current:
        notes.append(Note("This provider has removed its services.", Tone.PLAIN))
    if any(not one.confirmed for one in current):
        notes.append(
            Note(
                "The owner has not confirmed the TEE signer: settlements pay nothing until then. The owner runs",
                Tone.WARN,
                next_step=f"serving signer confirm {address}",
            )
        )
    if view.reader.ledger(address) is not None:
        notes.append(Note("This address is a user, too.", link=Link("Show the user", f"/user/{address}")))
    return notes


def _facts(view: View, offer: OfferVersion) -> list[Entry]:
    entries = [Entry("Model", Kind.LONG_TEXT, offer.model), Entry("Address", Kind.LONG_TEXT, offer.url)]
    if offer.kind == FINE_TUNING:
        entries.append(Entry("Price", Kind.PRICE, offer.input_price, "coins per million tokens"))
        quota = offer.details.get("quota")
        if isinstance(quota, dict):
            entries += [Entry(str(name), Kind.TEXT, str(value)) for name, value in quota.items()]
    else:
        entries += [
            Entry("Type", Kind.TEXT, str(offer.details.get("service_type", ""))),
            Entry("Input price", Kind.PRICE, offer.input_price, "coins per million tokens"),
            Entry("Output price", Kind.PRICE, offer.output_price, "coins per million tokens"),
            Entry("Verifiability", Kind.TEXT, verifiability(offer)),
        ]
    stats = view.provider_stats().get((offer.service, offer.provider), NO_SETTLEMENTS)
    entries += [
        Entry("TEE signer", Kind.ADDRESS, offer.signer),
        Entry("Confirmed by owner", Kind.STATE, signer_state(offer)),
        Entry("Registered so since", Kind.TIME, offer.since.time),
        Entry("Settles every", Kind.SPAN, stats.every, note="" if stats.every is None else "median"),
        Entry("Last settlement", Kind.TIME, stats.last),
        Entry("Refused settlements", Kind.COUNT, stats.refused),
    ]
    if offer.info not in (None, "", "{}"):
        entries.append(Entry("Additional information", Kind.LONG_TEXT, offer.info))
    return entries


def _price_plots(view: View, versions: tuple[OfferVersion, ...]) -> list[Plot]:
    """The price history of the service that changed most often."""
    if not versions:
        return []
    ((chosen, _),) = Counter(one.service for one in versions).most_common(1)
    history = [one for one in reversed(versions) if one.service == chosen]
    series = [Series("input", [one.input_price for one in history])]
    if history[-1].output_price is not None:
        series.append(Series("output", [one.output_price or 0 for one in history]))
    times = [one.since.time for one in history]
    title = f"Prices of {history[-1].service_name}"
    return [Plot("prices", title, Kind.PRICE, Shape.STEPS, times, series, "coins per million tokens", view.now)]


def _history_table(versions: tuple[OfferVersion, ...]) -> Table:
    rows = [
        [
            one.since.time,
            one.service_name,
            one.model,
            one.input_price,
            one.output_price,
            one.signer,
            one.confirmed,
            State("current", Tone.GOOD) if one.until is None else State("replaced"),
            one.since.tx,
        ]
        for one in versions
    ]
    return Table(
        "registrations",
        "Registrations and prices",
        _HISTORY,
        Listed(rows, _HISTORY),
        Order("since", falling=True),
        size=10,
    )


def _accounts_table(view: View, address: str) -> Table:
    lists = view.lists
    return Table(
        "accounts",
        "Users' accounts",
        _ACCOUNTS,
        Queried(
            lambda: lists.count_accounts(address),
            lambda order, offset, limit: [
                [one.user, one.service, one.balance, one.pending, one.unlocks_at, one.acknowledged]
                for one in lists.accounts(address, order.key, order.falling, offset, limit)
            ],
        ),
        Order("balance", falling=True),
        empty="No user has funded this provider. A user does so with:",
        next_step=f'serving ledger fund {address} "1 coin"',
        note="What users can ask back before it is settled: their balances, less what is being refunded already.",
    )
