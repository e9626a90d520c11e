# SPDX-License-Identifier: Apache-2.0
"""getAllAccounts"""

from typing import Any

import pytest

from tests.evm import GAS_LIMIT
from tests.unit.contract import COIN, Contract, error
from tests.unit.fine_tuning.world import World


@pytest.fixture
def crowd(world: World) -> list[tuple[str, str]]:
    """53 accounts, in the order of opening."""
    pairs = [(world.evm.account(f"user {n}"), world.second if n % 3 else world.provider) for n in range(53)]
    for user, provider in pairs:
        world.open(user, provider, 0)
    return pairs


def pairs(page: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["user"], one["provider"]) for one in page]


@pytest.mark.parametrize(
    ("offset", "limit", "begin", "end"),
    [(0, 0, 0, 50), (0, 50, 0, 50), (50, 0, 50, 53), (10, 5, 10, 15), (52, 50, 52, 53), (53, 1, 0, 0)],
)
def test_pages(serving: Contract, crowd: list[tuple[str, str]], offset: int, limit: int, begin: int, end: int) -> None:
    page, total = serving.ask("getAllAccounts", offset, limit)
    assert (pairs(page), total) == (crowd[begin:end], 53)


@pytest.mark.usefixtures("opened")
def test_far_past_the_end(serving: Contract) -> None:
    assert serving.ask("getAllAccounts", 2**256 - 1, 50) == ([], 1)


def test_a_limit_that_is_too_large(serving: Contract, user: str) -> None:
    assert serving.refused("getAllAccounts", 2**256 - 1, 51, sender=user) == error("LimitTooLarge", limit=51)


def test_nobody(serving: Contract) -> None:
    assert serving.ask("getAllAccounts", 0, 0) == ([], 0)


@pytest.mark.usefixtures("confirmed")
def test_shows_an_account_in_short(world: World, user: str, provider: str) -> None:
    world.open(user, provider, 4 * COIN, "about me")
    world.finish("one")
    world.deliver("two")
    world.request()
    assert world.accounts() == [
        {
            "user": user,
            "provider": provider,
            "nonce": 1,
            "balance": 3 * COIN,
            "pendingRefund": 3 * COIN,
            "additionalInfo": "about me",
            "validRefundsLength": 1,
            "deliverablesCount": 2,
            "acknowledged": True,
        }
    ]


def test_a_full_page_of_the_longest_is_answered(world: World, serving: Contract, provider: str) -> None:
    for number in range(50):
        world.open(world.evm.account(f"user {number}"), provider, 1, "x" * 4096)
    page, total = serving.ask("getAllAccounts", 0, 50, gas=GAS_LIMIT // 4)
    assert (len(page), total) == (50, 50)
    assert {one["additionalInfo"] for one in page} == {"x" * 4096}
