# SPDX-License-Identifier: Apache-2.0
"""The network of a unit test and its people. Each contract's folder makes `networks`, one for each kind of EVM."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.evm import Evm
from tests.fastest_evm import FASTEST
from tests.unit.contract import COIN, Contract
from tests.unit.fine_tuning.world import World as FineTuning
from tests.unit.inference.world import World as Inference
from tests.unit.ledger.world import World as Ledger

Service = FineTuning | Inference
AnyWorld = Service | Ledger


@pytest.fixture
def world(request: pytest.FixtureRequest, networks: Callable[[type[Evm]], AnyWorld]) -> Iterator[AnyWorld]:
    """The network as it was deployed. After the test its books must balance."""
    pristine = networks(Evm if request.node.get_closest_marker("local_evm") else FASTEST)
    mark = pristine.evm.snapshot()
    pristine.begin()
    try:
        yield pristine
        pristine.check_books()
    finally:
        pristine.evm.revert(mark)


@pytest.fixture
def evm(world: AnyWorld) -> Evm:
    return world.evm


@pytest.fixture
def owner(world: AnyWorld) -> str:
    return world.owner


@pytest.fixture
def user(world: AnyWorld) -> str:
    return world.user


@pytest.fixture
def provider(world: AnyWorld) -> str:
    return world.provider


@pytest.fixture
def second(world: AnyWorld) -> str:
    """Another provider."""
    return world.second


@pytest.fixture
def stranger(world: AnyWorld) -> str:
    return world.stranger


@pytest.fixture
def serving(world: Service) -> Contract:
    return world.serving


@pytest.fixture
def ledger(world: Service) -> str:
    """The address that the service accepts as its ledger."""
    return world.ledger


@pytest.fixture
def registered(world: Service) -> None:
    """The provider has a service."""
    world.register(world.provider)


@pytest.fixture
def confirmed(world: Service, registered: None) -> None:  # noqa: ARG001 it comes first
    """The owner confirmed the signer of the provider's service."""
    world.confirm(world.provider)


@pytest.fixture
def opened(world: Service) -> int:
    """Wei in the user's account with the provider."""
    coins = 10 * COIN
    world.open(world.user, world.provider, coins)
    return coins


@pytest.fixture
def ready(opened: int, confirmed: None) -> int:  # noqa: ARG001 it comes with it
    """Wei in the user's account with the provider, whose signer is confirmed."""
    return opened
