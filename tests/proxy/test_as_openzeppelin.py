# SPDX-License-Identifier: Apache-2.0
"""Ours beside the live network's proxies, transaction by transaction: the same answers, events and storage.

One difference is meant: where an initialisation reverts without data, OpenZeppelin puts a message of its own in its
place, and ours passes the silence on.
"""

from collections.abc import Callable

import pytest
from eth_abi.abi import encode

from tests.evm import Outcome
from tests.proxy.world import BEACON, BEACON_SLOT, FRONT, NOBODY, World, openzeppelin, probe

Deploy = Callable[[World, str, bytes, int], Outcome]


def _ours(world: World, beacon: str, data: bytes, value: int) -> Outcome:
    return world.evm.deploy(FRONT.creation_code(beacon, data), sender=world.owner, value=value)


def _theirs(world: World, beacon: str, data: bytes, value: int) -> Outcome:
    creation = openzeppelin("BeaconProxy") + encode(["address", "bytes"], [beacon, data])
    return world.evm.deploy(creation, sender=world.owner, value=value)


def _their_beacon(world: World, implementation: str) -> str:
    return world.create(openzeppelin("UpgradeableBeacon") + encode(["address"], [implementation]))


def _seen(outcome: Outcome) -> object:
    """What anybody can see of a transaction, without the addresses that differ between twins."""
    logs = [(log.topics, log.data.replace(bytes.fromhex(log.address[2:]), b"")) for log in outcome.logs]
    return outcome.success, outcome.output, logs


@pytest.mark.parametrize("beacon_of", ["ours", "theirs"])
@pytest.mark.parametrize("initialised", [False, True])
def test_creation(world: World, beacon_of: str, initialised: bool) -> None:
    _, interface = probe()
    beacon = (world.beacon if beacon_of == "ours" else lambda it: _their_beacon(world, it))(world.probe())
    data = interface.encode("initialize", 8) if initialised else b""
    ours, theirs = _ours(world, beacon, data, 4), _theirs(world, beacon, data, 4)
    assert _seen(ours)[0] is True  # type: ignore[index]
    assert ours.created is not None
    assert theirs.created is not None
    assert [log.topics for log in ours.logs] == [log.topics for log in theirs.logs]
    for slot in (0, BEACON_SLOT):
        assert world.evm.storage(ours.created, slot) == world.evm.storage(theirs.created, slot)
    assert world.evm.balance(ours.created) == world.evm.balance(theirs.created) == 4


def test_creation_that_fails(world: World) -> None:
    _, interface = probe()
    beacon = world.beacon(world.probe())
    mirrored = world.beacon(world.mirror())
    cases = [
        (world.stranger, b""),
        (beacon, interface.encode("initialize", 0)),
        (mirrored, b"\x01custom error of any size"),
        (world.probe(), b""),
    ]
    for looked_to, data in cases:
        ours, theirs = _ours(world, looked_to, data, 0), _theirs(world, looked_to, data, 0)
        assert not ours.success
        assert _seen(ours) == _seen(theirs)


def test_a_silent_initialisation_is_the_one_difference(world: World) -> None:
    beacon = world.beacon(world.mirror())
    assert _ours(world, beacon, b"\x01", 0).output == b""
    assert b"Address: low-level delegate call failed" in _theirs(world, beacon, b"\x01", 0).output


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 4096])
def test_calls(world: World, size: int) -> None:
    beacon = world.beacon(world.mirror())
    ours, theirs = _ours(world, beacon, b"", 0).created, _theirs(world, beacon, b"", 0).created
    assert ours is not None
    assert theirs is not None
    for first in (b"\x00", b"\x01"):
        data = first + bytes(place % 253 for place in range(size))
        answers = [world.evm.send(front, data, sender=world.user) for front in (ours, theirs)]
        assert _seen(answers[0]) == _seen(answers[1])


def test_beacons_through_their_life(world: World) -> None:
    first, second = world.probe(1), world.probe(2)
    ours, theirs = world.beacon(first), _their_beacon(world, first)
    life = [
        (world.stranger, "upgradeTo", second),
        (world.owner, "upgradeTo", world.stranger),
        (world.owner, "upgradeTo", second),
        (world.user, "implementation"),
        (world.stranger, "transferOwnership", world.stranger),
        (world.owner, "transferOwnership", NOBODY),
        (world.owner, "transferOwnership", world.user),
        (world.owner, "upgradeTo", first),
        (world.user, "upgradeTo", first),
        (world.stranger, "owner"),
        (world.stranger, "renounceOwnership"),
        (world.user, "renounceOwnership"),
        (world.user, "upgradeTo", second),
        (world.stranger, "owner"),
    ]
    for sender, name, *args in life:
        data = BEACON.interface.encode(name, *args)
        twins = [world.evm.send(beacon, data, sender=sender) for beacon in (ours, theirs)]
        assert _seen(twins[0]) == _seen(twins[1]), name


def test_creating_beacons(world: World) -> None:
    for implementation in (world.probe(), world.stranger):
        argument = encode(["address"], [implementation])
        twins = [
            world.evm.deploy(code + argument, sender=world.owner)
            for code in (BEACON.bytecode, openzeppelin("UpgradeableBeacon"))
        ]
        assert twins[0].success == twins[1].success
        assert [log.topics for log in twins[0].logs] == [log.topics for log in twins[1].logs]
        if not twins[0].success:
            assert twins[0].output == twins[1].output


def test_a_front_costs_less_than_theirs(world: World) -> None:
    implementation = world.mirror()
    beacon, attached = world.attached_front(implementation)
    asking, theirs = world.front(beacon), _theirs(world, beacon, b"", 0).created
    assert theirs is not None
    gas = [world.evm.send(front, b"\x00", sender=world.user).gas_used for front in (attached, asking, theirs)]
    assert gas == sorted(set(gas))
