# SPDX-License-Identifier: Apache-2.0
"""deleteAccount"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import World


def test_forgets_the_account(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, 0, "about me")
    done = world.delete()
    assert done.result is None
    assert done.events == [event("AccountDeleted", user=user, provider=provider, refundedAmount=0)]
    assert not serving.ask("accountExists", user, provider)
    assert serving.refused("getAccount", user, provider, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )
    world.open(user, provider, 0)
    assert world.account()["additionalInfo"] == ""


def test_checks_in_order(serving: Contract, ledger: str, user: str, provider: str, stranger: str, opened: int) -> None:
    assert serving.refused("deleteAccount", user, provider, sender=stranger) == error("CallerNotLedger")
    assert serving.refused("deleteAccount", user, provider, sender=ledger) == error(
        "AccountNotEmpty", user=user, provider=provider, balance=opened
    )


@pytest.mark.usefixtures("user")
def test_without_an_account_nothing_happens(world: World, provider: str, stranger: str, opened: int) -> None:
    done = world.delete(stranger, provider)
    assert done.events == [event("AccountDeleted", user=stranger, provider=provider, refundedAmount=0)]
    assert world.account()["balance"] == opened


@pytest.mark.usefixtures("ready")
def test_forgets_the_deliverables(world: World, serving: Contract, user: str, provider: str) -> None:
    world.finish("one")
    world.deliver("two")
    world.empty_account()
    world.delete()
    world.open(user, provider)
    account = world.account()
    assert (account["deliverables"], account["deliverablesHead"], account["deliverablesCount"]) == ([], 0, 0)
    for name in ("one", "two"):
        assert serving.refused("getDeliverable", user, provider, name, sender=user) == error(
            "DeliverableNotExists", id=name
        )
    world.deliver("one", root=b"another")
    assert world.deliverable("one")["modelRootHash"] == b"another"
    assert not world.deliverable("one")["settled"]


@pytest.mark.usefixtures("ready")
def test_costs_the_same_whatever_the_ring_holds(world: World) -> None:
    costs = []
    for number in (1, 20):
        mark = world.evm.snapshot()
        for index in range(number):
            world.deliver(f"{index}" * 100, root=b"r" * 1024)
            world.acknowledge(f"{index}" * 100)
        world.empty_account()
        costs.append(world.delete().gas_used)
        if number == 1:
            world.evm.revert(mark)
    assert costs[0] == costs[1]


@pytest.mark.parametrize("gone", range(4))
def test_the_last_account_takes_the_place(world: World, serving: Contract, user: str, gone: int) -> None:
    providers = [world.evm.account(f"provider {number}") for number in range(4)]
    for one in providers:
        world.open(user, one, 0)
    world.delete(user, providers[gone])
    left = providers[:]
    last = left.pop()
    if gone < 3:
        left[gone] = last
    assert serving.ask("providersOf", user) == left
    assert [one["provider"] for one in world.accounts()] == left


def test_many_users_of_many_providers_in_any_order(world: World, serving: Contract) -> None:
    users = [world.evm.account(f"user {number}") for number in range(5)]
    providers = [world.evm.account(f"provider {number}") for number in range(4)]
    pairs = [(user, provider) for user in users for provider in providers]
    for number, (user, provider) in enumerate(pairs):
        world.open(user, provider, number * COIN)
    for number in range(0, 20, 3):
        user, provider = pairs[number]
        if number:
            world.empty_account(user, provider)
        world.delete(user, provider)
        world.check_books()
    assert len(world.accounts()) == 13
    world.open(*pairs[0], COIN)
    assert serving.ask("accountExists", *pairs[0])
