# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.network_fixture import World, deployed_world


@pytest.fixture(scope="session")
def deployed() -> Iterator[World]:
    with deployed_world() as world:
        yield world


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.network.reset_afterwards():
        yield deployed
