# SPDX-License-Identifier: Apache-2.0
"""The site: which page is at which path, and the state of the index that each page reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from serving_network.errors import ServingError
from serving_network.explorer.index.listing import Lists
from serving_network.explorer.index.opening import reading
from serving_network.explorer.web.cells import Tone, span_text
from serving_network.explorer.web.page import Moved, Page
from serving_network.explorer.web.pages.addresses import address
from serving_network.explorer.web.pages.bills import Bills, bill, bills
from serving_network.explorer.web.pages.events import activity, block, transaction
from serving_network.explorer.web.pages.gateway import Asked, gateway
from serving_network.explorer.web.pages.network import network
from serving_network.explorer.web.pages.owners import contract, owners
from serving_network.explorer.web.pages.provider import provider
from serving_network.explorer.web.pages.providers import providers
from serving_network.explorer.web.pages.search import search
from serving_network.explorer.web.pages.settlements import settlement, settlements
from serving_network.explorer.web.pages.users import user, users
from serving_network.explorer.web.rendering import Section, Site
from serving_network.explorer.web.view import Computed, View
from serving_network.store.location import Location

Parts = Mapping[str, str]
PageOf = Callable[[View, Parts, Parts], Page | Moved]

SECTIONS: Final = (
    Section("network", "Network", "/"),
    Section("providers", "Providers", "/providers"),
    Section("users", "Users", "/users"),
    Section("settlements", "Settlements", "/settlements"),
    Section("activity", "Activity", "/activity"),
    Section("owners", "Owners", "/owners"),
)
PAGES: Final[Mapping[str, PageOf]] = {
    "/": lambda view, _parts, _query: network(view),
    "/providers": lambda view, _parts, query: providers(view, query),
    "/provider/{address}": lambda view, parts, _query: provider(view, parts["address"]),
    "/users": lambda view, _parts, _query: users(view),
    "/user/{address}": lambda view, parts, _query: user(view, parts["address"]),
    "/settlements": lambda view, _parts, _query: settlements(view),
    "/settlement/{key}": lambda view, parts, _query: settlement(view, parts["key"]),
    "/activity": lambda view, _parts, _query: activity(view),
    "/transaction/{hash}": lambda view, parts, _query: transaction(view, parts["hash"]),
    "/block/{number}": lambda view, parts, _query: block(view, parts["number"]),
    "/owners": lambda view, _parts, _query: owners(view),
    "/contract/{address}": lambda view, parts, _query: contract(view, parts["address"]),
    "/address/{address}": lambda view, parts, _query: address(view, parts["address"]),
    "/search": lambda view, _parts, query: search(view, query),
}
"""The pages of every explorer, from the parts of their path and the query."""

_SILENT: Final = 120
"""Seconds without a look at the node after which an index counts as not followed."""
_BEHIND: Final = 20
"""Blocks between the index and the node that are worth a word."""


@dataclass(frozen=True)
class Source:
    """Where pages come from: an index, and beside it what only this machine knows.

    `addresses` is the reader's address book, by name.
    """

    index: Location
    network: str
    addresses: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[Section, Mapping[str, PageOf]] = field(default_factory=dict)
    computed: Computed = field(default_factory=Computed)
    clock: Callable[[], float] = time.time

    def pages(self) -> dict[str, PageOf]:
        """Every page by its path."""
        return dict(PAGES) | {path: page for pages in self.own.values() for path, page in pages.items()}

    @contextmanager
    def view(self) -> Iterator[View]:
        """The index in one state, for the thread that asks. Raises IndexFailure."""
        with reading(self.index) as reader:
            yield View(reader, Lists(reader), reader.tip(), self.computed, self.addresses)

    def warm_up(self) -> None:
        """Compute what the first reader of a large index would wait for."""
        with suppress(ServingError), self.view() as view:
            view.provider_stats()

    def site(self, view: View) -> Site:
        """What all pages show."""
        tip = view.tip
        silent = int(self.clock()) - tip.looked_at
        if tip.block < 0:
            status, tone = "No block read yet", Tone.WARN
        elif silent > _SILENT:
            status, tone = f"Block {tip.block:,}: the index has not followed for {span_text(silent)}", Tone.WARN
        elif tip.head - tip.block > _BEHIND:
            status, tone = f"Block {tip.block:,}, {tip.head - tip.block:,} behind the node", Tone.WARN
        else:
            status, tone = f"Block {tip.block:,}", Tone.GOOD
        return Site(
            name=self.network,
            chain_id=tip.chain_id,
            sections=(*SECTIONS, *self.own),
            status=status,
            tone=tone,
            head_key=f"{tip.block}-{tip.hash[:18]}",
            block_time=tip.time or None,
        )


def gateway_pages(store: Location, ask: Asked) -> dict[Section, Mapping[str, PageOf]]:
    """The dashboard of the provider whose store this is."""
    pages: Mapping[str, PageOf] = {"/gateway": lambda view, _parts, _query: gateway(view, store, ask)}
    return {Section("gateway", "Gateway", "/gateway"): pages}


def bill_pages(own: Bills) -> dict[Section, Mapping[str, PageOf]]:
    """The bills of one user."""
    pages: Mapping[str, PageOf] = {
        "/bills": lambda _view, _parts, _query: bills(own),
        "/bills/{address}": lambda _view, parts, query: bill(own, parts["address"], query),
    }
    return {Section("bills", "Bills", "/bills"): pages}
