# SPDX-License-Identifier: Apache-2.0
"""A fresh world for every test of the proxies."""

import pytest

from tests.evm import Evm
from tests.proxy.world import World


@pytest.fixture
def world() -> World:
    evm = Evm()
    return World(evm, evm.account("owner"), evm.account("stranger"), evm.account("user"))
