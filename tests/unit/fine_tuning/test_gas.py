# SPDX-License-Identifier: Apache-2.0
"""What each operation costs at most: a receipt's gas, through the front, in a network that others use too"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.contract import COIN
from tests.unit.fine_tuning.world import World

ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ROOT = bytes.fromhex("1ded137593d0e8717bcaa5d69c77e63c33202d3f3c1575ad206df79bbe4d752c")
SECRET = bytes(range(100, 200))
NONCE = 17_637_984_000_000_041
OFFER: dict[str, Any] = {
    "url": "https://provider-one.example.com:8080/api",
    "models": ["meta/llama-3.3-70b-instruct-fp8", "qwen/qwen2.5-0.5b-instruct-int4", "mistral/mixtral-8x7b-v0.1-gptq"],
}


@pytest.fixture(autouse=True)
def network(world: World) -> None:
    """Other users and providers are there already; the provider and the user have their first steps behind them."""
    others = [world.evm.account(f"other {number}") for number in range(4)]
    for other in others[:2]:
        world.register(other, **OFFER)
        world.confirm(other)
        for user in others[2:]:
            world.open(user, other)
    world.register(world.provider, **OFFER)
    world.confirm(world.provider)
    world.open(others[2], world.provider)
    world.open(world.user, others[0])
    world.open(world.user, world.provider, 100 * COIN)
    world.finish("the first")


def delivered(world: World, number: int = 0) -> str:
    """The id of a new deliverable."""
    name = f"{ID[:-2]}{number:02}"
    world.deliver(name, root=ROOT)
    return name


def test_register(world: World) -> None:
    assert world.register(world.evm.account("new"), **OFFER).gas_used <= 270_000


def test_change_the_price_only(world: World) -> None:
    assert world.update(world.provider, **OFFER, pricePerToken=8).gas_used <= 65_000


def test_add_a_deliverable(world: World) -> None:
    assert world.deliver(ID, root=ROOT).gas_used <= 150_000


def test_add_a_deliverable_and_evict_the_oldest(world: World) -> None:
    for number in range(20):
        name = delivered(world, number)
        world.acknowledge(name)
        world.settle(world.settlement(name, root=ROOT, secret=SECRET))
    done = world.deliver(ID, root=ROOT)
    assert done.named("DeliverableEvicted")
    assert done.gas_used <= 150_000


def test_acknowledge_a_deliverable(world: World) -> None:
    assert world.acknowledge(delivered(world)).gas_used <= 44_000


def test_settle_one_that_is_acknowledged(world: World) -> None:
    name = delivered(world)
    world.acknowledge(name)
    settlement = world.settlement(name, root=ROOT, secret=SECRET, nonce=NONCE, fee=25 * COIN // 10)
    assert world.settle(settlement).gas_used <= 150_000


def test_settle_one_that_is_not_acknowledged(world: World) -> None:
    name = delivered(world)
    settlement = world.settlement(name, root=ROOT, secret=b"", nonce=NONCE, fee=25 * COIN // 10)
    assert world.settle(settlement).gas_used <= 80_000


def test_an_update_that_changes_nothing_writes_no_text(world: World) -> None:
    assert world.update(world.provider, **OFFER).gas_used <= 65_000
