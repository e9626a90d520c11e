# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from tests.unit.inference.world import TEE, World, new_world


@pytest.fixture(scope="session")
def pristine() -> World:
    return new_world()


@pytest.fixture
def tee_signer() -> str:
    """The address whose key signs for the provider."""
    return TEE.address
