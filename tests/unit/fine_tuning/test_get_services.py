# SPDX-License-Identifier: Apache-2.0
"""getServices"""

from typing import Any

import pytest

from tests.evm import GAS_LIMIT
from tests.unit.contract import Contract, error
from tests.unit.fine_tuning.world import World

LARGEST: dict[str, Any] = {"url": "u" * 2048, "models": ["m" * 256] * 64}


@pytest.fixture
def crowd(world: World) -> list[str]:
    """53 providers, in the order of registration."""
    providers = [world.evm.account(f"provider {number}") for number in range(53)]
    for number, provider in enumerate(providers):
        world.register(provider, pricePerToken=number)
    return providers


@pytest.mark.parametrize(
    ("offset", "limit", "begin", "end"),
    [(0, 0, 0, 50), (0, 50, 0, 50), (50, 0, 50, 53), (10, 5, 10, 15), (52, 50, 52, 53), (53, 1, 0, 0)],
)
def test_pages(serving: Contract, crowd: list[str], offset: int, limit: int, begin: int, end: int) -> None:
    page, total = serving.ask("getServices", offset, limit)
    assert [(one["provider"], one["pricePerToken"]) for one in page] == [
        (crowd[number], number) for number in range(begin, end)
    ]
    assert total == 53


@pytest.mark.usefixtures("registered")
def test_far_past_the_end(serving: Contract) -> None:
    assert serving.ask("getServices", 2**256 - 1, 50) == ([], 1)


def test_a_limit_that_is_too_large(serving: Contract, user: str) -> None:
    assert serving.refused("getServices", 0, 51, sender=user) == error("LimitTooLarge", limit=51)


def test_nobody(serving: Contract) -> None:
    assert serving.ask("getServices", 0, 0) == ([], 0)


def test_an_entry_is_what_get_service_shows(world: World, serving: Contract, provider: str, second: str) -> None:
    world.register(second, models=[], url="")
    world.register(provider)
    world.confirm(provider)
    page, _ = serving.ask("getServices", 0, 0)
    assert page == [serving.ask("getService", second), serving.ask("getService", provider)]


def test_a_full_page_ends_early_and_the_rest_is_on_the_next(world: World, serving: Contract) -> None:
    providers = [world.evm.account(f"provider {number}") for number in range(12)]
    for provider in providers:
        world.register(provider, **LARGEST)
    page, total = serving.ask("getServices", 0, 50, gas=GAS_LIMIT // 4)
    assert ([one["provider"] for one in page], total) == (providers[:9], 12)
    assert all(one["models"] == LARGEST["models"] and one["url"] == LARGEST["url"] for one in page)
    rest, total = serving.ask("getServices", 9, 50)
    assert ([one["provider"] for one in rest], total) == (providers[9:], 12)
    assert rest[2]["models"] == LARGEST["models"]
