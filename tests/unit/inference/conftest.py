# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.evm import Evm
from tests.unit.inference.world import TEE, World, new_world


@pytest.fixture(scope="session")
def networks() -> Callable[[type[Evm]], World]:
    made: dict[type[Evm], World] = {}

    def network(kind: type[Evm]) -> World:
        if kind not in made:
            made[kind] = new_world(kind)
        return made[kind]

    return network


@pytest.fixture
def tee_signer() -> str:
    """The address whose key signs for the provider."""
    return TEE.address
