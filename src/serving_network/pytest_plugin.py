# SPDX-License-Identifier: Apache-2.0
"""Fixtures for other projects' tests. In their conftest.py:

    pytest_plugins = ["serving_network.pytest_plugin"]

| fixture | what it is |
|---|---|
| serving_network | a `LocalNetwork`, deployed once a session and put back after each test |
| serving_network_url | the address at which programs outside the test process reach it |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving_network.testing import LocalNetwork, local_network

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def deployed_serving_network() -> Iterator[LocalNetwork]:
    """The network that `serving_network` puts back after each test; what is done to it here stays for all tests."""
    with local_network() as network:
        yield network


@pytest.fixture
def serving_network(deployed_serving_network: LocalNetwork) -> Iterator[LocalNetwork]:
    """A serving network with funded accounts, fresh for every test."""
    with deployed_serving_network.put_back_afterwards():
        yield deployed_serving_network


@pytest.fixture
def serving_network_url(serving_network: LocalNetwork) -> Iterator[str]:
    """JSON-RPC over HTTP to the network of this test."""
    with serving_network.served() as url:
        yield url
