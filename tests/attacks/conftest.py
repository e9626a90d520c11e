# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from tests.attacks.scene import Scene
from tests.fastest_evm import FASTEST


@pytest.fixture(scope="session")
def deployed() -> Scene:
    return Scene(FASTEST())


@pytest.fixture
def scene(deployed: Scene) -> Iterator[Scene]:
    """The network with a user who has 20 coins in the ledger; afterwards contracts and model still agree."""
    deployed.begin()
    yield deployed
    deployed.compare()


@pytest.fixture
def bare(deployed: Scene) -> Scene:
    """The same, for attacks with contracts that the model knows nothing of."""
    deployed.begin()
    return deployed
