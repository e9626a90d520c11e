from __future__ import annotations

import pytest

from serving_network.localchain import EmbeddedChain


@pytest.fixture
def chain() -> EmbeddedChain:
    return EmbeddedChain()
