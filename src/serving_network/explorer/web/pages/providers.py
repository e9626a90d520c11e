# SPDX-License-Identifier: Apache-2.0
"""Providers: who sells what, at which price, and how they settle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from serving_network.contracts.models import FINE_TUNING
from serving_network.explorer.index.found import OfferVersion
from serving_network.explorer.index.paid import ProviderStats
from serving_network.explorer.web.cells import Kind, State, Tone
from serving_network.explorer.web.page import Page, Tab
from serving_network.explorer.web.tables import Column, Listed, Order, Row, Table
from serving_network.explorer.web.view import View

_COLUMNS: Final = (
    Column("provider", "Provider", Kind.PROVIDER),
    Column("model", "Model", Kind.TEXT),
    Column("service", "Service", Kind.WORD),
    Column("input_price", "Input", Kind.PRICE, "/ 1M", "Coins for a million input tokens"),
    Column("output_price", "Output", Kind.PRICE, "/ 1M", "Coins for a million output tokens"),
    Column("verifiability", "Verifiability", Kind.TEXT),
    Column("signer", "TEE signer", Kind.STATE, note="Whether the owner confirmed it: nobody is charged before"),
    Column("stake", "Stake", Kind.AMOUNT, "coins"),
    Column("users", "Users", Kind.COUNT, note="Users with an account"),
    Column("paid", "Settled", Kind.AMOUNT, "coins"),
    Column("partial", "In part", Kind.SHARE, note="The share of accepted settlements that were paid in part"),
    Column("every", "Settles every", Kind.SPAN, note="The median time between settlements"),
)
NO_SETTLEMENTS: Final = ProviderStats(0, 0, 0, 0, None, None)


def providers(view: View, query: Mapping[str, str]) -> Page:
    """All registered providers, of one service or of all."""
    versions = view.reader.versions()
    chosen = next((one for one in versions if one.name == query.get("service")), None)
    rows = view.once("providers", lambda: provider_rows(view))
    shown = [row for service, row in rows if chosen is None or service == chosen.address]
    tabs = [Tab("All", "/providers", chosen is None)]
    tabs += [Tab(one.name, f"/providers?service={one.name}", one is chosen) for one in versions]
    return Page(
        "Providers",
        "providers",
        below="Registered services and what the chain says of them. Texts and addresses are the providers' own.",
        tabs=tabs if len(tabs) > 2 else (),
        tables=[
            Table(
                "providers",
                "Registered services",
                _COLUMNS,
                Listed(shown, _COLUMNS),
                Order("paid", falling=True),
                empty="No provider is registered. A provider registers with:",
                next_step="serving service register offer.toml",
            )
        ],
    )


def provider_rows(view: View) -> list[tuple[str, Row]]:
    """A row for each registered service, with the address of its contract."""
    stats = view.provider_stats()
    accounts = view.accounts_by_provider()
    stakes = view.lists.stakes()
    rows: list[tuple[str, Row]] = []
    for offer in view.reader.registered():
        key = offer.service, offer.provider
        settled = stats.get(key, NO_SETTLEMENTS)
        rows.append(
            (
                offer.service,
                [
                    offer.provider,
                    offer.model,
                    offer.service_name,
                    offer.input_price,
                    offer.output_price,
                    verifiability(offer),
                    signer_state(offer),
                    stakes.get(key, 0),
                    accounts.get(key, (0, 0, 0))[0],
                    settled.paid,
                    partial_share(settled),
                    settled.every,
                ],
            )
        )
    return rows


def verifiability(offer: OfferVersion) -> str | None:
    """How answers can be verified, in the provider's words; None for fine-tuning, which has no such field."""
    return None if offer.kind == FINE_TUNING else str(offer.details.get("verifiability", ""))


def signer_state(offer: OfferVersion) -> State:
    """Whether the owner confirmed the TEE signer."""
    return State("confirmed", Tone.GOOD) if offer.confirmed else State("waiting", Tone.WARN)


def partial_share(settled: ProviderStats) -> int | None:
    """The share of accepted settlements that were paid in part, in millionths."""
    return settled.partial * 10**6 // settled.accepted if settled.accepted else None
