# SPDX-License-Identifier: Apache-2.0
"""getDeliverable"""

import pytest

from tests.unit.contract import Contract, error
from tests.unit.fine_tuning.world import ROOT, SECRET, World


@pytest.mark.usefixtures("confirmed")
def test_checks_in_order(world: World, serving: Contract, user: str, provider: str) -> None:
    def refused(name: str) -> object:
        return serving.refused("getDeliverable", user, provider, name, sender=user)

    assert refused("") == error("AccountNotExists", user=user, provider=provider)
    world.open(user, provider)
    for name in ("", "task", "x" * 257, "x" * 500):
        assert refused(name) == error("DeliverableNotExists", id=name)


@pytest.mark.usefixtures("ready")
def test_shows_the_secret_only_of_what_was_paid(world: World) -> None:
    world.deliver("task")
    delivered = world.evm.time
    expected = {
        "id": "task",
        "modelRootHash": ROOT,
        "encryptedSecret": b"",
        "acknowledged": False,
        "timestamp": delivered,
        "settled": False,
    }
    assert world.deliverable("task") == expected
    world.evm.time += 60
    world.acknowledge("task")
    assert world.deliverable("task") == expected | {"acknowledged": True}
    world.settle(world.settlement("task"))
    assert world.deliverable("task") == expected | {
        "acknowledged": True,
        "settled": True,
        "encryptedSecret": SECRET,
    }


@pytest.mark.usefixtures("ready")
def test_a_penalised_one_has_no_secret(world: World) -> None:
    world.penalise("task")
    found = world.deliverable("task")
    assert (found["acknowledged"], found["settled"], found["encryptedSecret"]) == (False, True, b"")
