# SPDX-License-Identifier: Apache-2.0
"""abandonDeliverable"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.fine_tuning.world import World


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("acknowledged", [False, True])
def test_gives_up_unpaid(world: World, serving: Contract, user: str, provider: str, acknowledged: bool) -> None:
    world.deliver("task")
    if acknowledged:
        world.acknowledge("task")
    before = world.account()
    world.evm.time += 60
    done = serving.send("abandonDeliverable", user, "task", sender=provider)
    assert done.result is None
    assert done.events == [
        event("DeliverableAbandoned", user=user, provider=provider, deliverableId="task", timestamp=world.evm.time)
    ]
    (found,) = world.account()["deliverables"]
    assert (found["acknowledged"], found["settled"], found["encryptedSecret"]) == (True, True, b"")
    assert found["timestamp"] == before["deliverables"][0]["timestamp"]
    assert world.account()["balance"] == before["balance"]


@pytest.mark.usefixtures("confirmed")
def test_checks_in_order(world: World, serving: Contract, user: str, provider: str) -> None:
    def refused(name: str) -> object:
        return serving.refused("abandonDeliverable", user, name, sender=provider)

    assert refused("") == error("AccountNotExists", user=user, provider=provider)
    world.open(user, provider)
    for name in ("", "task", "x" * 257, "x" * 500):
        assert refused(name) == error("DeliverableNotExists", id=name)
    world.finish("paid")
    world.penalise("penalised")
    world.deliver("given up")
    serving.send("abandonDeliverable", user, "given up", sender=provider)
    for name in ("paid", "penalised", "given up"):
        assert refused(name) == error("CannotAbandonSettledDeliverable", id=name)


@pytest.mark.usefixtures("ready")
def test_makes_room_and_is_never_paid(world: World, serving: Contract, user: str, provider: str) -> None:
    world.deliver("task")
    settlement = world.settlement("task", secret=b"")
    serving.send("abandonDeliverable", user, "task", sender=provider)
    assert serving.refused("settleFees", settlement.signed(serving.address), sender=provider) == error(
        "DeliverableAlreadySettled", id="task"
    )
    world.deliver("next")


@pytest.mark.usefixtures("opened")
def test_is_the_providers(world: World, serving: Contract, user: str, provider: str, stranger: str) -> None:
    world.deliver("task")
    for other in (user, stranger):
        assert serving.refused("abandonDeliverable", user, "task", sender=other) == error(
            "AccountNotExists", user=user, provider=other
        )
    assert not world.deliverable("task")["settled"]
    assert provider != stranger
