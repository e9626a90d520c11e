# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.evm import Evm
from tests.unit.contract import Contract
from tests.unit.ledger.world import Service, World, new_world


@pytest.fixture(scope="session")
def networks() -> Callable[[type[Evm]], World]:
    made: dict[type[Evm], World] = {}

    def network(kind: type[Evm]) -> World:
        if kind not in made:
            made[kind] = new_world(kind)
        return made[kind]

    return network


@pytest.fixture
def ledger(world: World) -> Contract:
    return world.ledger


@pytest.fixture
def service(world: World) -> Service:
    """A registered service that keeps no account book: the ledger's own book is used."""
    return world.service()


@pytest.fixture
def native(world: World) -> Service:
    """A registered service that keeps the account book."""
    return world.service("native-v1", native=True)


@pytest.fixture
def opened(world: World) -> int:
    """Wei with which the user has opened a ledger."""
    coins = 10 * 10**18
    world.open(world.user, coins)
    return coins


@pytest.fixture(scope="session")
def full_registry() -> World:
    """Another network, with 500 services: number 0 is first-v1, number n is type0-vn, type1-vn or type2-vn. Those with
    even numbers, but for number 0, keep the account book."""
    made = new_world()
    first = made.service("first-v1")
    templates = [made.evm.code(one.address) for one in (made.service(native=True, registered=False), first)]
    for number in range(1, 500):
        address = made.evm.account(f"service {number}", coins=1000 * 10**18)
        made.evm.set_code(address, templates[number % 2])
        name = f"type{number % 3}-v{number}"
        made.register(address, name)
        made.services.append(Service(made.evm, address, first.interface, name=name))
    return made


@pytest.fixture
def crowd(full_registry: World) -> Iterator[World]:
    """The network with 500 services, as it was at first."""
    mark = full_registry.evm.snapshot()
    yield full_registry
    full_registry.evm.revert(mark)
