# SPDX-License-Identifier: Apache-2.0
"""Somebody initialises an implementation, or a front before its owner does, and owns what is behind it."""

from serving_network.contracts import load
from tests.attacks.scene import Scene, reason
from tests.stateful.world import FINE_TUNING, INFERENCE, INTERFACES, LEDGER, SERVICES


def _arguments(scene: Scene, where: str, owner: str) -> tuple[object, ...]:
    ledger = scene.addresses[LEDGER]
    every: dict[str, tuple[object, ...]] = {LEDGER: (owner,), FINE_TUNING: (86_400, ledger, owner, 30)}
    return every.get(where, (86_400, ledger, owner))


def test_implementations_are_locked(scene: Scene) -> None:
    for where in (LEDGER, *SERVICES):
        data = INTERFACES[where].encode("initialize", *_arguments(scene, where, scene.stranger))
        for implementation in scene.implementations[where]:
            outcome = scene.evm.send(implementation, data, sender=scene.stranger)
            assert reason(outcome, where) == ("AlreadyInitialized", {})


def test_fronts_are_initialised_in_their_creation(scene: Scene) -> None:
    for where in (LEDGER, *SERVICES):
        outcome = scene.raw(where, "initialize", *_arguments(scene, where, scene.stranger), sender=scene.stranger)
        assert reason(outcome, where) == ("AlreadyInitialized", {})


def test_a_front_run_between_creation_and_initialisation_needs_an_uninitialised_front(scene: Scene) -> None:
    """A front that is created bare belongs to whoever comes first, for good: why ours never is."""
    beacon = load("UpgradeableBeacon").creation_code(scene.implementations[INFERENCE][0])
    created = scene.evm.deploy(beacon, sender=scene.upgrade_owner).created
    bare = scene.evm.deploy(load("BeaconProxy").creation_code(created, b""), sender=scene.upgrade_owner).created
    assert bare is not None
    mine = INTERFACES[INFERENCE].encode("initialize", *_arguments(scene, INFERENCE, scene.stranger))
    theirs = INTERFACES[INFERENCE].encode("initialize", *_arguments(scene, INFERENCE, scene.owner))
    assert scene.evm.send(bare, mine, sender=scene.stranger).success
    assert reason(scene.evm.send(bare, theirs, sender=scene.owner), INFERENCE) == ("AlreadyInitialized", {})
