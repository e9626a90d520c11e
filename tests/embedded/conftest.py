from __future__ import annotations

import pytest

from serving_network.chain.embedded import EmbeddedChain


@pytest.fixture
def chain() -> EmbeddedChain:
    return EmbeddedChain()
