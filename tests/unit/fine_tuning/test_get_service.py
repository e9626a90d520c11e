# SPDX-License-Identifier: Apache-2.0
"""getService"""

from tests.unit.contract import Contract, error
from tests.unit.fine_tuning.world import World, offer


def test_needs_a_registration(serving: Contract, provider: str) -> None:
    assert serving.refused("getService", provider, sender=provider) == error("ServiceNotExist", provider=provider)


def test_shows_what_was_registered(world: World, serving: Contract, provider: str, second: str) -> None:
    world.register(second, url="another")
    world.register(provider)
    world.confirm(provider)
    url, quota, price, occupied, models, signer = offer()
    assert serving.ask("getService", provider) == {
        "provider": provider,
        "url": url,
        "quota": quota,
        "pricePerToken": price,
        "occupied": occupied,
        "models": models,
        "teeSignerAddress": signer,
        "teeSignerAcknowledged": True,
    }
    assert serving.ask("getService", second)["url"] == "another"


def test_the_largest_is_answered_at_little_cost(world: World, serving: Contract, provider: str) -> None:
    models = [f"{number:02}" + "m" * 254 for number in range(64)]
    world.register(provider, url="u" * 2048, models=models)
    found = serving.ask("getService", provider, gas=500_000)
    assert (found["url"], found["models"]) == ("u" * 2048, models)
