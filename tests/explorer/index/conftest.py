# SPDX-License-Identifier: Apache-2.0
"""A network that each test finds as it was deployed, and the two stores of an index."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving_network.testing import local_network
from tests.explorer.index.histories import Town
from tests.store_fixtures import location, postgres

__all__ = ["location", "postgres"]


@pytest.fixture(scope="session")
def deployed() -> Iterator[Town]:
    with local_network() as network:
        yield Town(network)


@pytest.fixture
def town(deployed: Town) -> Iterator[Town]:
    with deployed.reset_afterwards():
        yield deployed
