# SPDX-License-Identifier: Apache-2.0
"""getAllLedgers"""

import pytest

from tests.unit.contract import COIN, Contract
from tests.unit.ledger.world import MIN_ACCOUNT, World

HUGE = 2**256 - 1


def test_nobody(ledger: Contract) -> None:
    assert ledger.ask("getAllLedgers", 0, 0) == ([], 0)
    assert ledger.ask("getAllLedgers", HUGE, HUGE) == ([], 0)


def test_pages_in_the_order_of_opening(ledger: Contract, world: World) -> None:
    users = [world.evm.account(f"user {i}") for i in range(53)]
    for i, one in enumerate(users):
        world.open(one, MIN_ACCOUNT + i, f"user {i}")

    def names(offset: int, limit: int) -> list[str]:
        page, total = ledger.ask("getAllLedgers", offset, limit)
        assert total == 53
        return [one["additionalInfo"] for one in page]

    every = [f"user {i}" for i in range(53)]
    assert names(0, 0) == every[:50]
    assert names(0, 50) == every[:50]
    assert names(0, 51) == every[:50]
    assert names(0, HUGE) == every[:50]
    assert names(1, HUGE) == every[1:51]
    assert names(50, 0) == every[50:]
    assert names(51, 1) == every[51:52]
    assert names(52, HUGE) == every[52:]
    for past in (53, 54, HUGE):
        assert names(past, 1) == []
        assert names(past, HUGE) == []
    page, _ = ledger.ask("getAllLedgers", 0, 3)
    assert page == [ledger.ask("getLedger", one) for one in users[:3]]


def test_fifty_of_the_longest_are_answered_within_a_nodes_limit(ledger: Contract, world: World) -> None:
    world.service()
    for i in range(50):
        one = world.evm.account(f"user {i}")
        world.open(one, info="i" * 4096)
        ledger.send("transferFund", world.provider, "others-v1", COIN, sender=one)
    page, total = ledger.ask("getAllLedgers", 0, 50, gas=30_000_000)
    assert (len(page), total) == (50, 50)
    assert {one["totalBalance"] for one in page} == {10 * COIN}


@pytest.mark.parametrize("kind", ["service", "native"])
def test_totals_count_services(ledger: Contract, world: World, kind: str, request: pytest.FixtureRequest) -> None:
    service = request.getfixturevalue(kind)
    world.open(world.user)
    ledger.send("transferFund", world.provider, service.name, 4 * COIN, sender=world.user)
    page, _ = ledger.ask("getAllLedgers", 0, 0)
    assert [(one["availableBalance"], one["totalBalance"]) for one in page] == [(6 * COIN, 10 * COIN)]
