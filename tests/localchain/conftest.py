# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from serving_network.localchain import EmbeddedChain


@pytest.fixture
def chain() -> EmbeddedChain:
    return EmbeddedChain()
