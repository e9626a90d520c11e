# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of other projects. Add to their conftest.py:

    pytest_plugins = ["serving_network.pytest_plugin"]

| fixture | value |
|---|---|
| serving_network | a `LocalNetwork`, deployed once per session and reset after each test |
| serving_network_url | the URL at which programs outside the test process reach it |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving_network.testing import LocalNetwork, local_network

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def deployed_serving_network() -> Iterator[LocalNetwork]:
    """The network that `serving_network` resets after each test. Changes made in this fixture last for all tests."""
    with local_network() as network:
        yield network


@pytest.fixture
def serving_network(deployed_serving_network: LocalNetwork) -> Iterator[LocalNetwork]:
    """A serving network with funded accounts, reset after every test."""
    with deployed_serving_network.reset_afterwards():
        yield deployed_serving_network


@pytest.fixture
def serving_network_url(serving_network: LocalNetwork) -> Iterator[str]:
    """The URL of this test's network, for JSON-RPC over HTTP."""
    with serving_network.served() as url:
        yield url
