# SPDX-License-Identifier: Apache-2.0
"""getDeliverables"""

import pytest

from tests.unit.contract import Contract, error
from tests.unit.fine_tuning.world import World


def test_needs_an_account(serving: Contract, user: str, provider: str) -> None:
    assert serving.refused("getDeliverables", user, provider, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )


@pytest.mark.usefixtures("opened")
def test_none(serving: Contract, user: str, provider: str) -> None:
    assert serving.ask("getDeliverables", user, provider) == []


@pytest.mark.usefixtures("ready")
def test_oldest_first_as_each_is_shown_alone(world: World, serving: Contract, user: str, provider: str) -> None:
    world.finish("one")
    world.deliver("two", root=b"r" * 1024)
    world.acknowledge("two")
    world.evm.time += 60
    world.deliver("three", root=b"")
    found = serving.ask("getDeliverables", user, provider)
    assert found == [world.deliverable(name) for name in ("one", "two", "three")]
    assert found == world.account()["deliverables"]
