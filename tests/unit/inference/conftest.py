"""A fresh network for every test, and its books checked after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.evm import Evm
from tests.unit.contract import COIN, Contract
from tests.unit.inference.world import TEE, World, new_world


@pytest.fixture(scope="session")
def pristine() -> World:
    return new_world()


@pytest.fixture(autouse=True)
def world(pristine: World) -> Iterator[World]:
    """The network as it was at first; what a test leaves must balance."""
    mark = pristine.evm.snapshot()
    pristine.serving.history.clear()
    pristine.forced = 0
    pristine.nonces = iter(range(1, 10**6))
    yield pristine
    pristine.check_books()
    pristine.evm.revert(mark)


@pytest.fixture
def serving(world: World) -> Contract:
    return world.serving


@pytest.fixture
def evm(world: World) -> Evm:
    return world.evm


@pytest.fixture
def ledger(world: World) -> str:
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
def tee_signer() -> str:
    """Whose key signs for the provider."""
    return TEE.address


@pytest.fixture
def registered(world: World) -> None:
    """The provider has a service."""
    world.register()


@pytest.fixture
def confirmed(world: World, registered: None) -> None:  # noqa: ARG001 it comes first
    """The provider has a service, whose signer the owner has confirmed."""
    world.confirm()


@pytest.fixture
def opened(world: World) -> int:
    """Wei in the user's account with the provider."""
    world.open(coins=10 * COIN)
    return 10 * COIN


@pytest.fixture
def ready(opened: int, confirmed: None) -> int:  # noqa: ARG001 it comes with it
    """Wei in the user's account with the provider, whose signer is confirmed."""
    return opened
