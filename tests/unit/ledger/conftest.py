"""A fresh network for every test, and its books checked after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.contract import Contract
from tests.unit.ledger.world import Service, World, new_world


@pytest.fixture(scope="session")
def pristine() -> World:
    return new_world()


@pytest.fixture(autouse=True)
def world(pristine: World) -> Iterator[World]:
    """The network as it was at first; what a test leaves must balance."""
    mark = pristine.evm.snapshot()
    pristine.services.clear()
    pristine.forced = 0
    yield pristine
    pristine.check_books()
    pristine.evm.revert(mark)


@pytest.fixture
def ledger(world: World) -> Contract:
    return world.ledger


@pytest.fixture
def owner(world: World) -> str:
    return world.owner


@pytest.fixture
def user(world: World) -> str:
    return world.user


@pytest.fixture
def provider(world: World) -> str:
    return world.provider


@pytest.fixture
def second(world: World) -> str:
    """Another provider."""
    return world.second


@pytest.fixture
def stranger(world: World) -> str:
    return world.stranger


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
