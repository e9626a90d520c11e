# SPDX-License-Identifier: Apache-2.0
"""An upgrade whose storage is laid out otherwise reads balances as something else. It is refused before it is sent."""

from dataclasses import replace

from serving_network.contracts import load
from serving_network.deployment.layout import Layout, compare
from tests.attacks.scene import Scene
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER, SERVICES
from tests.unit.contract import COIN


def test_everything_is_where_it_was_after_an_upgrade_in_mid_life(scene: Scene) -> None:
    """Accounts, refunds, nonces, tokens, deliverables, read through the new implementation; then settled and left."""
    for where in (INFERENCE, FINE_TUNING):
        scene.register(scene.provider, where)
        scene.fund(scene.provider, where)
    entry = scene.entry(scene.provider, COIN, 7)
    scene.settle(scene.provider, entry)
    scene.do(FINE_TUNING, "addDeliverable", scene.user, "job", b"root", sender=scene.provider)
    scene.do(LEDGER, "retrieveFund", [scene.provider], INFERENCE, sender=scene.user)
    scene.do(INFERENCE, "revokeToken", scene.provider, 200, sender=scene.user)
    for where in (LEDGER, *SERVICES):
        scene.upgrade(where, 1)
    scene.compare()
    assert scene.settle(scene.provider, entry) == [4]
    scene.do(FINE_TUNING, "settleFees", scene.task("job", COIN, 1), sender=scene.provider)
    scene.leave()


def test_only_the_upgrade_owner_upgrades(scene: Scene) -> None:
    beacon = load("UpgradeableBeacon").interface
    for where in (LEDGER, *SERVICES):
        data = beacon.encode("upgradeTo", scene.implementations[where][1])
        for sender in (scene.stranger, scene.owner, scene.provider, scene.user):
            outcome = scene.evm.send(scene._beacons[where], data, sender=sender)
            assert beacon.decode_error(outcome.output) == ("Error", {"message": "Ownable: caller is not the owner"})


def test_an_implementation_with_moved_or_repacked_storage_is_refused_before_it_is_sent() -> None:
    for name in ("LedgerManager", "InferenceServing", "FineTuningServing"):
        stored = load(name).storage_layout
        shipped = Layout.from_artifact(stored)
        assert compare(shipped, shipped) == []
        for variable in shipped.variables:
            others = [other for other in shipped.variables if other is not variable]
            assert compare(shipped, replace(shipped, variables=tuple(others))), f"{variable.name} gone"
            shifted = replace(variable, slot=shipped.variables[-1].end)
            assert compare(shipped, replace(shipped, variables=(*others, shifted))), f"{variable.name} moved"
        for packed, fields in shipped.packed.items():
            for first in range(len(fields) - 1):
                swapped = [*fields[:first], fields[first + 1], fields[first], *fields[first + 2 :]]
                other = replace(shipped, packed={**shipped.packed, packed: tuple(swapped)})
                assert compare(shipped, other), f"fields of {packed} exchanged"
