# SPDX-License-Identifier: Apache-2.0
"""Every listing can be answered at its worst, within the gas that nodes give a call."""

from __future__ import annotations

import pytest

from benchmarks.gas.snapshot import UPDATE, differences, read
from benchmarks.gas.views import (
    CALL_LIMIT,
    ID,
    INFO,
    LONG,
    MODELS,
    PAGE,
    REFUNDS,
    RING,
    SHORT,
    URL,
    Crowd,
    full_crowd,
    measure_views,
    unanswerable,
)


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    return full_crowd()


@pytest.mark.parametrize("service", [0, 1], ids=["inference", "fine-tuning"])
def test_the_accounts_are_as_full_as_they_can_be(crowd: Crowd, service: int) -> None:
    contract = crowd.services[service]
    for name, key in (
        ("getAllAccounts", ()),
        ("getAccountsByProvider", (crowd.providers[0],)),
        ("getAccountsByUser", (crowd.users[0],)),
    ):
        accounts, total = contract.ask(name, *key, 0, PAGE, gas=CALL_LIMIT)
        assert len(accounts) == PAGE <= total
        assert {len(account["additionalInfo"]) for account in accounts} == {INFO}
        assert {account["validRefundsLength"] for account in accounts} == {REFUNDS}


def test_the_ring_is_as_full_as_it_can_be(crowd: Crowd) -> None:
    pair = (crowd.users[0], crowd.providers[0])
    found = crowd.net.fine_tuning.ask("getDeliverables", *pair, gas=CALL_LIMIT)
    assert len(found) == RING
    sizes = {(len(one["id"]), len(one["modelRootHash"]), len(one["encryptedSecret"])) for one in found}
    assert sizes == {(ID, LONG, LONG)}
    account = crowd.net.fine_tuning.ask("getAccount", *pair, gas=CALL_LIMIT)
    assert (account["deliverables"], len(account["refunds"])) == (found, REFUNDS)


def test_inference_offers_come_fifty_at_a_time(crowd: Crowd) -> None:
    services, total = crowd.net.inference.ask("getAllServices", 0, PAGE, gas=CALL_LIMIT)
    assert len(services) == total == PAGE
    assert {(len(one["url"]), len(one["model"]), len(one["additionalInfo"])) for one in services} == {
        (URL, SHORT, INFO)
    }


def test_fine_tuning_offers_come_in_pages_that_end_where_the_answer_is_full(crowd: Crowd) -> None:
    """Fifty of the longest do not fit one answer; asking on from the end of each page finds them all."""
    found: list[str] = []
    while True:
        services, total = crowd.net.fine_tuning.ask("getServices", len(found), PAGE, gas=CALL_LIMIT)
        if not services:
            break
        assert {(len(one["url"]), len(one["models"])) for one in services} == {(URL, MODELS)}
        found += [one["provider"] for one in services]
    assert found == crowd.providers
    assert total == PAGE
    unpaged = crowd.net.fine_tuning.ask("getAllServices", gas=CALL_LIMIT)
    assert 9 <= len(unpaged) < PAGE


def test_every_listing_can_be_answered_and_costs_what_is_committed(crowd: Crowd) -> None:
    figures = measure_views(crowd)
    assert unanswerable(figures) == []
    assert differences(read()["views"], figures) == [], UPDATE
    assert unanswerable({"a": CALL_LIMIT, "b": CALL_LIMIT + 1}) == ["b"]
