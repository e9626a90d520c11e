# SPDX-License-Identifier: Apache-2.0
"""The beacon: which implementation its fronts run, and who may say so."""

import pytest

from tests.evm import Outcome
from tests.proxy.world import (
    BEACON,
    FRONT,
    IMPLEMENTATION_SLOT,
    NOBODY,
    World,
    openzeppelin,
    probe,
    reason,
)

NOT_THE_OWNER = "Ownable: caller is not the owner"


def _events(outcome: Outcome) -> list[tuple[str, dict[str, object]]]:
    decoded = [BEACON.interface.decode_event(log.address, log.topics, log.data) for log in outcome.logs]
    return [(event.name, event.args) for event in decoded if event is not None]


def test_creation_makes_the_creator_owner_and_says_only_that(world: World) -> None:
    implementation = world.probe()
    outcome = world.evm.deploy(BEACON.creation_code(implementation), sender=world.owner)
    assert outcome.created is not None
    assert _events(outcome) == [("OwnershipTransferred", {"previousOwner": NOBODY, "newOwner": world.owner})]
    assert len(outcome.logs) == 1
    assert world.ask(outcome.created, "owner") == world.owner
    assert world.ask(outcome.created, "implementation") == implementation
    assert world.ask(outcome.created, "front") == NOBODY


def test_creation_refuses_an_implementation_without_code(world: World) -> None:
    outcome = world.evm.deploy(BEACON.creation_code(world.stranger), sender=world.owner)
    assert reason(outcome) == "UpgradeableBeacon: implementation is not a contract"


def test_upgrade_reaches_asking_and_attached_fronts(world: World) -> None:
    beacon, attached = world.attached_front(world.probe(1))
    asking = world.front(beacon)
    second = world.probe(2)
    outcome = world.order(beacon, "upgradeTo", second)
    assert _events(outcome) == [("Upgraded", {"implementation": second})]
    assert len(outcome.logs) == 1
    assert world.ask(beacon, "implementation") == second
    assert world.call_probe(attached, "version") == 2
    assert world.call_probe(asking, "version") == 2


def test_an_upgrade_keeps_what_is_stored(world: World) -> None:
    beacon, front = world.attached_front(world.probe(1))
    world.call_probe(front, "initialize", 12)
    world.order(beacon, "upgradeTo", world.probe(2))
    assert world.call_probe(front, "stored") == 12


def test_only_the_owner_upgrades(world: World) -> None:
    first = world.probe(1)
    beacon, front = world.attached_front(first)
    outcome = world.order(beacon, "upgradeTo", world.probe(2), sender=world.stranger)
    assert reason(outcome) == NOT_THE_OWNER
    assert world.ask(beacon, "implementation") == first
    assert world.call_probe(front, "version") == 1


def test_an_upgrade_to_an_address_without_code_changes_nothing(world: World) -> None:
    first = world.probe(1)
    beacon, front = world.attached_front(first)
    for codeless in (world.stranger, NOBODY):
        outcome = world.order(beacon, "upgradeTo", codeless)
        assert reason(outcome) == "UpgradeableBeacon: implementation is not a contract"
    assert world.ask(beacon, "implementation") == first
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == int(first, 16)


@pytest.mark.parametrize("gas", range(25_000, 70_000, 1_500))
def test_an_upgrade_out_of_gas_changes_both_or_neither(world: World, gas: int) -> None:
    first, second = world.probe(1), world.probe(2)
    beacon, front = world.attached_front(first)
    data = BEACON.interface.encode("upgradeTo", second)
    outcome = world.evm.send(beacon, data, sender=world.owner, gas=gas)
    expected = second if outcome.success else first
    assert world.ask(beacon, "implementation") == expected
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == int(expected, 16)


def test_attaching_gives_the_front_the_implementation(world: World) -> None:
    implementation = world.probe()
    beacon = world.beacon(implementation)
    front = world.front(beacon)
    outcome = world.order(beacon, "attach", front)
    assert _events(outcome) == [("FrontAttached", {"front": front})]
    assert len(outcome.logs) == 1
    assert world.ask(beacon, "front") == front
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == int(implementation, 16)


def test_attaching_again_changes_nothing(world: World) -> None:
    implementation = world.probe()
    beacon, front = world.attached_front(implementation)
    assert world.order(beacon, "attach", front).success
    assert world.ask(beacon, "front") == front
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == int(implementation, 16)


def test_the_front_before_asks_again(world: World) -> None:
    beacon, before = world.attached_front(world.probe(1))
    after = world.front(beacon)
    assert world.order(beacon, "attach", after).success
    assert world.ask(beacon, "front") == after
    assert world.evm.storage(before, IMPLEMENTATION_SLOT) == 0
    world.order(beacon, "upgradeTo", world.probe(2))
    assert world.call_probe(before, "version") == 2
    assert world.call_probe(after, "version") == 2
    assert world.evm.storage(before, IMPLEMENTATION_SLOT) == 0


def test_attaching_nobody_detaches(world: World) -> None:
    beacon, front = world.attached_front(world.probe(1))
    outcome = world.order(beacon, "attach", NOBODY)
    assert _events(outcome) == [("FrontAttached", {"front": NOBODY})]
    assert world.ask(beacon, "front") == NOBODY
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == 0
    world.order(beacon, "upgradeTo", world.probe(2))
    assert world.call_probe(front, "version") == 2


def test_only_the_owner_attaches(world: World) -> None:
    beacon = world.beacon(world.probe())
    front = world.front(beacon)
    assert reason(world.order(beacon, "attach", front, sender=world.stranger)) == NOT_THE_OWNER
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == 0


def test_only_a_genuine_front_of_this_beacon_is_attached(world: World) -> None:
    implementation = world.probe()
    beacon, kept = world.attached_front(implementation)
    foreign = world.front(world.beacon(implementation))
    stranger_made = world.create(openzeppelin("BeaconProxy") + FRONT.interface.encode_constructor(beacon, b""))
    almost = world.front(beacon)
    code = world.evm.code(almost)
    world.evm.set_code(almost, code[:-1] + bytes([code[-1] ^ 1]))
    longer = world.front(beacon)
    world.evm.set_code(longer, code + b"\x00")
    for other in (foreign, stranger_made, almost, longer, implementation, beacon, world.stranger):
        outcome = world.order(beacon, "attach", other)
        assert not outcome.success
        refused = BEACON.interface.decode_error(outcome.output)
        assert refused is not None
        assert refused.name == "NotAFrontOfThisBeacon"
        assert refused.args == {"front": other}
    assert world.ask(beacon, "front") == kept


def test_transfer_of_ownership(world: World) -> None:
    beacon = world.beacon(world.probe())
    assert reason(world.order(beacon, "transferOwnership", world.user, sender=world.stranger)) == NOT_THE_OWNER
    assert reason(world.order(beacon, "transferOwnership", NOBODY)) == "Ownable: new owner is the zero address"
    outcome = world.order(beacon, "transferOwnership", world.user)
    assert _events(outcome) == [("OwnershipTransferred", {"previousOwner": world.owner, "newOwner": world.user})]
    assert world.ask(beacon, "owner") == world.user
    assert reason(world.order(beacon, "upgradeTo", world.probe())) == NOT_THE_OWNER
    assert world.order(beacon, "upgradeTo", world.probe(), sender=world.user).success


def test_renouncing_ownership(world: World) -> None:
    beacon = world.beacon(world.probe())
    assert reason(world.order(beacon, "renounceOwnership", sender=world.stranger)) == NOT_THE_OWNER
    outcome = world.order(beacon, "renounceOwnership")
    assert _events(outcome) == [("OwnershipTransferred", {"previousOwner": world.owner, "newOwner": NOBODY})]
    assert world.ask(beacon, "owner") == NOBODY
    assert reason(world.order(beacon, "upgradeTo", world.probe())) == NOT_THE_OWNER


def test_an_offer_moves_nothing_until_it_is_accepted(world: World) -> None:
    beacon = world.beacon(world.probe())
    assert reason(world.order(beacon, "offerOwnership", world.user, sender=world.stranger)) == NOT_THE_OWNER
    outcome = world.order(beacon, "offerOwnership", world.user)
    assert _events(outcome) == [("OwnershipTransferStarted", {"previousOwner": world.owner, "newOwner": world.user})]
    assert world.ask(beacon, "owner") == world.owner
    assert world.ask(beacon, "pendingOwner") == world.user
    refused = world.order(beacon, "acceptOwnership", sender=world.stranger)
    assert reason(refused) == "Ownable2Step: caller is not the new owner"
    outcome = world.order(beacon, "acceptOwnership", sender=world.user)
    assert _events(outcome) == [("OwnershipTransferred", {"previousOwner": world.owner, "newOwner": world.user})]
    assert world.ask(beacon, "owner") == world.user
    assert world.ask(beacon, "pendingOwner") == NOBODY


@pytest.mark.parametrize("end", ["withdrawn", "replaced", "transferred", "renounced"])
def test_an_offer_ends(world: World, end: str) -> None:
    beacon = world.beacon(world.probe())
    world.order(beacon, "offerOwnership", world.user)
    order = {
        "withdrawn": ("offerOwnership", NOBODY),
        "replaced": ("offerOwnership", world.stranger),
        "transferred": ("transferOwnership", world.stranger),
        "renounced": ("renounceOwnership",),
    }[end]
    assert world.order(beacon, *order).success
    refused = world.order(beacon, "acceptOwnership", sender=world.user)
    assert reason(refused) == "Ownable2Step: caller is not the new owner"


def test_it_takes_no_coins(world: World) -> None:
    _, interface = probe()
    beacon = world.beacon(world.probe())
    for data in (b"", interface.encode("version"), BEACON.interface.encode("front")):
        outcome = world.evm.send(beacon, data, sender=world.user, value=1)
        assert not outcome.success
        assert outcome.output == b""
