# SPDX-License-Identifier: Apache-2.0
"""serviceExists, getService, getAllServices"""

from typing import Any

from tests.unit.contract import Contract, error
from tests.unit.inference.world import OFFER, World

NODE_GAS = 30_000_000


def test_service_exists(world: World, serving: Contract, provider: str) -> None:
    assert serving.ask("serviceExists", provider) is False
    world.register()
    assert serving.ask("serviceExists", provider) is True


def test_get_service_needs_one(serving: Contract, provider: str, stranger: str) -> None:
    assert serving.refused("getService", provider, sender=stranger) == error("ServiceNotExist", provider=provider)


def test_pages_in_the_order_of_registration(world: World, serving: Contract) -> None:
    providers = [world.evm.account(f"provider {place}") for place in range(53)]
    for place, provider in enumerate(providers):
        world.register(provider, model=f"model {place}", url="x" * place, additionalInfo="y" * (place * 7 % 40))
        if place % 2:
            world.confirm(provider)
    every = [serving.ask("getService", provider) for provider in providers]
    assert [one["model"] for one in every] == [f"model {place}" for place in range(53)]
    assert [one["teeSignerAcknowledged"] for one in every] == [bool(place % 2) for place in range(53)]
    for offset in (0, 1, 3, 50, 52, 53, 2**256 - 1):
        for limit in (0, 1, 50):
            page, total = serving.ask("getAllServices", offset, limit)
            assert total == 53
            assert page == every[offset : offset + (limit or 50)]


def test_of_nobody(serving: Contract) -> None:
    assert serving.ask("getAllServices", 0, 0) == ([], 0)


def test_a_limit_has_a_limit(serving: Contract, stranger: str) -> None:
    for limit in (51, 2**256 - 1):
        assert serving.refused("getAllServices", 0, limit, sender=stranger) == error(
            "LimitTooLarge", limit=limit, max=50
        )


def test_a_page_of_the_largest_services_fits_a_nodes_limit(world: World, serving: Contract) -> None:
    longest: dict[str, Any] = {
        "serviceType": "t" * 256,
        "url": "u" * 2048,
        "model": "m" * 256,
        "verifiability": "v" * 256,
        "additionalInfo": "i" * 4096,
    }
    for place in range(50):
        world.register(world.evm.account(f"provider {place}"), **longest)
    page, total = serving.ask("getAllServices", 0, 0, gas=NODE_GAS)
    assert total == 50
    assert [{name: one[name] for name in OFFER} for one in page] == [OFFER | longest] * 50
