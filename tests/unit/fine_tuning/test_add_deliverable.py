# SPDX-License-Identifier: Apache-2.0
"""addDeliverable"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.fine_tuning.world import ROOT, World

RING = 20


def names(first: int, end: int) -> list[str]:
    return [f"task {number}" for number in range(first, end)]


def fill(world: World, number: int = RING) -> None:
    """That many deliverables, each acknowledged and settled."""
    for name in names(0, number):
        world.finish(name, fee=1)


@pytest.mark.usefixtures("opened")
def test_adds_one(world: World, user: str, provider: str) -> None:
    done = world.deliver("task", root=b"\xef\x00 any bytes")
    assert done.result is None
    assert done.events == [
        event(
            "DeliverableAdded",
            user=user,
            provider=provider,
            deliverableId="task",
            modelRootHash=b"\xef\x00 any bytes",
            timestamp=world.evm.time,
        )
    ]
    assert world.deliverable("task") == {
        "id": "task",
        "modelRootHash": b"\xef\x00 any bytes",
        "encryptedSecret": b"",
        "acknowledged": False,
        "timestamp": world.evm.time,
        "settled": False,
    }


@pytest.mark.usefixtures("confirmed")
def test_checks_in_order(world: World, serving: Contract, user: str, provider: str) -> None:
    def refused(name: str, root: bytes = ROOT) -> object:
        return serving.refused("addDeliverable", user, name, root, sender=provider)

    for length in (0, 257, 500):
        assert refused("x" * length, b"r" * 1025) == error("DeliverableIdInvalidLength", length=length)
    assert refused("task", b"r" * 1025) == error("TextTooLong", length=1025, max=1024)
    assert refused("task") == error("AccountNotExists", user=user, provider=provider)
    world.open(user, provider)
    world.deliver("task")
    assert refused("task") == error("DeliverableAlreadyExists", id="task")
    assert refused("next") == error("PreviousDeliverableNotAcknowledged", id="task")


@pytest.mark.usefixtures("ready")
def test_checks_in_order_in_a_full_ring(world: World, serving: Contract, user: str, provider: str) -> None:
    def refused(name: str) -> object:
        return serving.refused("addDeliverable", user, name, ROOT, sender=provider)

    for name in names(0, RING):
        world.deliver(name)
        if name != f"task {RING - 1}":
            world.acknowledge(name)
    assert refused("task 0") == error("DeliverableAlreadyExists", id="task 0")
    assert refused("next") == error("PreviousDeliverableNotAcknowledged", id=f"task {RING - 1}")
    world.acknowledge(f"task {RING - 1}")
    assert refused("next") == error("CannotEvictUnsettledDeliverable", id="task 0")
    world.settle(world.settlement("task 1"))
    assert refused("next") == error("CannotEvictUnsettledDeliverable", id="task 0")
    world.settle(world.settlement("task 0"))
    world.deliver("next")
    assert world.ids() == [*names(1, RING), "next"]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("name", ["x", "x" * 256, "任务-🚀", "\u00ef", "a" * 31, "a" * 32, "a" * 33])
@pytest.mark.parametrize("root", [b"", b"r", b"r" * 1024])
def test_ids_and_root_hashes_of_every_length(world: World, name: str, root: bytes) -> None:
    world.deliver(name, root=root)
    found = world.deliverable(name)
    assert (found["id"], found["modelRootHash"]) == (name, root)
    world.acknowledge(name)


@pytest.mark.usefixtures("opened")
def test_an_id_is_measured_in_bytes(world: World, serving: Contract, user: str, provider: str) -> None:
    world.deliver("é" * 128)
    assert serving.refused("addDeliverable", user, "é" * 128 + "x", ROOT, sender=provider) == error(
        "DeliverableIdInvalidLength", length=257
    )


@pytest.mark.usefixtures("ready")
def test_a_settled_one_never_blocks_the_next(world: World) -> None:
    world.penalise("never acknowledged")
    world.deliver("next")
    assert world.ids() == ["never acknowledged", "next"]


@pytest.mark.usefixtures("opened")
def test_acknowledged_ones_may_wait_unsettled(world: World) -> None:
    for name in names(0, 3):
        world.deliver(name)
        world.acknowledge(name)
    assert world.ids() == names(0, 3)


@pytest.mark.usefixtures("ready")
def test_the_21st_pushes_the_oldest_out(world: World, serving: Contract, user: str, provider: str) -> None:
    fill(world)
    before = world.account()
    assert (before["deliverablesHead"], before["deliverablesCount"]) == (0, RING)
    done = world.deliver("the 21st")
    assert done.events == [
        event(
            "DeliverableEvicted",
            provider=provider,
            user=user,
            evictedDeliverableId="task 0",
            newDeliverableId="the 21st",
            timestamp=world.evm.time,
        ),
        event(
            "DeliverableAdded",
            user=user,
            provider=provider,
            deliverableId="the 21st",
            modelRootHash=ROOT,
            timestamp=world.evm.time,
        ),
    ]
    assert world.ids() == [*names(1, RING), "the 21st"]
    after = world.account()
    assert (after["deliverablesHead"], after["deliverablesCount"]) == (1, RING)
    assert serving.refused("getDeliverable", user, provider, "task 0", sender=user) == error(
        "DeliverableNotExists", id="task 0"
    )


@pytest.mark.usefixtures("ready")
def test_goes_around_twice(world: World) -> None:
    for number in range(2 * RING + 3):
        name = f"task {number}"
        world.deliver(name)
        world.acknowledge(name)
        account = world.account()
        oldest = max(0, number + 1 - RING)
        assert [one["id"] for one in account["deliverables"]] == names(oldest, number + 1)
        assert account["deliverablesHead"] == oldest % RING
        world.settle(world.settlement(name, fee=0))


@pytest.mark.usefixtures("ready")
def test_an_id_that_was_pushed_out_may_come_again(world: World) -> None:
    fill(world)
    world.deliver("the 21st")
    world.acknowledge("the 21st")
    world.deliver("task 0", root=b"new")
    assert world.deliverable("task 0")["modelRootHash"] == b"new"
    assert not world.deliverable("task 0")["settled"]
    assert world.ids()[-1] == "task 0"


@pytest.mark.usefixtures("opened")
def test_pairs_are_apart(world: World, user: str, provider: str, second: str, stranger: str) -> None:
    world.open(user, second)
    world.open(stranger, provider)
    world.deliver("task", root=b"1")
    world.deliver("task", root=b"2", provider=second)
    world.deliver("task", root=b"3", user=stranger)
    assert world.deliverable("task")["modelRootHash"] == b"1"
    world.acknowledge("task", provider=second)
    assert not world.deliverable("task")["acknowledged"]


@pytest.mark.usefixtures("opened")
def test_nobody_adds_for_another_provider(serving: Contract, user: str, stranger: str) -> None:
    assert serving.refused("addDeliverable", user, "task", ROOT, sender=stranger) == error(
        "AccountNotExists", user=user, provider=stranger
    )
