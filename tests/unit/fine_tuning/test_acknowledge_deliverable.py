# SPDX-License-Identifier: Apache-2.0
"""acknowledgeDeliverable"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.fine_tuning.world import World


@pytest.mark.usefixtures("opened")
def test_accepts(world: World, user: str, provider: str) -> None:
    world.deliver("task")
    delivered = world.evm.time
    world.evm.time += 60
    done = world.acknowledge("task")
    assert done.result is None
    assert done.events == [
        event(
            "DeliverableAcknowledged",
            user=user,
            provider=provider,
            deliverableId="task",
            timestamp=world.evm.time,
        )
    ]
    found = world.deliverable("task")
    assert (found["acknowledged"], found["settled"], found["timestamp"]) == (True, False, delivered)


@pytest.mark.usefixtures("opened")
def test_may_be_repeated_and_emits_again(world: World) -> None:
    world.deliver("task")
    world.acknowledge("task")
    assert len(world.acknowledge("task").events) == 1


@pytest.mark.usefixtures("confirmed")
def test_checks_in_order(world: World, serving: Contract, user: str, provider: str) -> None:
    def refused(name: str) -> object:
        return serving.refused("acknowledgeDeliverable", provider, name, sender=user)

    assert refused("") == error("AccountNotExists", user=user, provider=provider)
    world.open(user, provider)
    for name in ("", "task", "x" * 257, "x" * 500):
        assert refused(name) == error("DeliverableNotExists", id=name)
    world.finish("paid")
    world.penalise("penalised")
    world.deliver("given up")
    serving.send("abandonDeliverable", user, "given up", sender=provider)
    for name in ("paid", "penalised", "given up"):
        assert refused(name) == error("CannotAcknowledgeSettledDeliverable", id=name)


@pytest.mark.usefixtures("opened")
def test_is_the_users(world: World, serving: Contract, provider: str, stranger: str) -> None:
    world.deliver("task")
    for other in (provider, stranger):
        assert serving.refused("acknowledgeDeliverable", provider, "task", sender=other) == error(
            "AccountNotExists", user=other, provider=provider
        )


@pytest.mark.usefixtures("ready")
def test_leaves_the_account_as_it_is(world: World) -> None:
    world.finish("task")
    world.deliver("next")
    world.request()
    before = world.account()
    world.acknowledge("next")
    after = world.account()
    before["deliverables"][1]["acknowledged"] = True
    assert after == before
