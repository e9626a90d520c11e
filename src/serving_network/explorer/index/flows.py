# SPDX-License-Identifier: Apache-2.0
"""Compare balances and stakes with everything that flowed in and out, event by event, in the order of their owners."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from serving_network.explorer.index.comparing import Comparison, in_pages, sum_of

if TYPE_CHECKING:
    from serving_network.explorer.index.reading import IndexReader

_HAS: Final = "has"
_MOVED: Final = "moved"
Flow = tuple[str, str, str, int]
"""An amount: its owner, the service, whether it is what the owner has or what moved, and the wei."""


def compare_flows(index: IndexReader, by_events: Collection[str], comparison: Comparison) -> None:
    """Compare what each user and each provider has in a service with what moved. `by_events` are the services whose
    events tell balances: what others hold is compared with the ledger's total."""
    settled: Counter[str] = Counter()
    users = merge(_transfers(index), _settlements(index, settled), _accounts(index), key=itemgetter(0))
    for user, service, has, moved in _by_owner(users):
        if service in by_events:
            comparison.compared["flows"] += 1
            comparison.compare(service, f"money of {user}, by flows", has, moved)
    staked: Counter[str] = Counter()
    for provider, service, has, moved in _by_owner(merge(_stake_events(index), _stakes(index), key=itemgetter(0))):
        staked[service] += has
        comparison.compared["stakes"] += has != 0
        comparison.compare(service, f"stake of {provider}, by flows", has, moved)
    for service, amount in staked.items():
        comparison.compare(service, "sum of stakes", sum_of(index, service, "stakes"), amount)
    days: Counter[str] = Counter()
    for _, service, _, paid in in_pages(
        index, "SELECT day, service, provider, paid FROM daily WHERE 1 = 1", ("day", "service", "provider")
    ):
        days[service] += int(paid)
    for service in sorted(settled.keys() | days.keys()):
        comparison.compare(service, "sum of settlements by day", days[service], settled[service])


def _by_owner(flows: Iterator[Flow]) -> Iterator[tuple[str, str, int, int]]:
    """What each owner has in each service, and what moved."""
    for owner, of_owner in groupby(flows, key=itemgetter(0)):
        sums: Counter[tuple[str, str]] = Counter()
        for _, service, kind, amount in of_owner:
            sums[service, kind] += amount
        for service in sorted({service for service, _ in sums}):
            yield owner, service, sums[service, _HAS], sums[service, _MOVED]


def _transfers(index: IndexReader) -> Iterator[Flow]:
    for user, _, name, text in in_pages(
        index,
        "SELECT user_address, position, name, args FROM event WHERE user_address IS NOT NULL"
        " AND name IN ('FundsTransferred', 'FundsRetrieved', 'FundSpent')",
        ("user_address", "position"),
    ):
        args = json.loads(text)
        yield user, args["service"], _MOVED, int(args["amount"]) * (1 if name == "FundsTransferred" else -1)


def _settlements(index: IndexReader, settled: Counter[str]) -> Iterator[Flow]:
    for user, _, service, paid in in_pages(
        index,
        "SELECT user_address, position, service, paid FROM settlement WHERE status <= 1",
        ("user_address", "position"),
    ):
        settled[service] += int(paid)
        yield user, service, _MOVED, -int(paid)


def _accounts(index: IndexReader) -> Iterator[Flow]:
    for user, service, _, balance in in_pages(
        index,
        "SELECT user_address, service, provider, balance FROM account WHERE until IS NULL",
        ("user_address", "service", "provider"),
    ):
        yield user, service, _HAS, int(balance)


def _stake_events(index: IndexReader) -> Iterator[Flow]:
    for provider, _, service, name, text in in_pages(
        index,
        "SELECT provider, position, contract, name, args FROM event WHERE provider IS NOT NULL"
        " AND name IN ('ProviderStaked', 'ProviderStakeReturned')",
        ("provider", "position"),
    ):
        yield provider, service, _MOVED, int(json.loads(text)["amount"]) * (1 if name == "ProviderStaked" else -1)


def _stakes(index: IndexReader) -> Iterator[Flow]:
    for provider, service, amount in in_pages(
        index, "SELECT provider, service, amount FROM stake WHERE until IS NULL", ("provider", "service")
    ):
        yield provider, service, _HAS, int(amount)
