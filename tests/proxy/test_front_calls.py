# SPDX-License-Identifier: Apache-2.0
"""What reaches the implementation through a front, and what comes back, on both lanes."""

import pytest

from tests.evm import Evm
from tests.proxy.world import BEACON, BEACON_SLOT, IMPLEMENTATION_SLOT, World, probe

SIZES = [0, 1, 31, 32, 33, 4096, 100_000]
LANES = ["asking", "attached"]


def _front(world: World, lane: str, implementation: str) -> str:
    if lane == "asking":
        return world.front(world.beacon(implementation))
    _, front = world.attached_front(implementation)
    return front


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("size", SIZES)
def test_data_of_any_size_passes_both_ways(world: World, lane: str, size: int) -> None:
    front = _front(world, lane, world.mirror())
    payload = bytes(place % 251 for place in range(size))
    returned = world.evm.send(front, b"\x00" + payload, sender=world.user)
    assert returned.success
    assert returned.output == payload
    reverted = world.evm.send(front, b"\x01" + payload, sender=world.user)
    assert not reverted.success
    assert reverted.output == payload


@pytest.mark.parametrize("lane", LANES)
def test_the_implementation_runs_in_the_name_and_storage_of_the_front(world: World, lane: str) -> None:
    implementation = world.probe()
    front = _front(world, lane, implementation)
    world.call_probe(front, "initialize", 41)
    assert world.call_probe(front, "context", value=6) == (front, world.user, 6, 41)
    assert world.evm.balance(front) == 6
    assert world.evm.storage(front, 0) == 41
    assert world.evm.storage(implementation, 0) == 0


@pytest.mark.parametrize("lane", LANES)
def test_a_plain_payment_reaches_the_implementation(world: World, lane: str) -> None:
    front = _front(world, lane, world.probe())
    assert world.evm.send(front, sender=world.user, value=3).success
    assert world.evm.balance(front) == 3


@pytest.mark.parametrize("lane", LANES)
def test_every_selector_reaches_the_implementation(world: World, lane: str) -> None:
    """A front has no functions of its own: those of its beacon and of a transparent proxy mean nothing to it."""
    front = _front(world, lane, world.mirror())
    for function in ("implementation", "owner", "renounceOwnership", "front", "acceptOwnership", "pendingOwner"):
        sent = b"\x00" + BEACON.interface.encode(function)
        assert world.evm.send(front, sent, sender=world.owner).output == sent[1:]


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("role", ["user", "stranger", "owner"])
def test_nobody_but_the_beacon_writes_the_slot(world: World, lane: str, role: str) -> None:
    front = _front(world, lane, world.mirror())
    before = world.evm.storage(front, IMPLEMENTATION_SLOT)
    word = bytes(12) + bytes.fromhex(world.stranger[2:])
    outcome = world.evm.send(front, word, sender=getattr(world, role))
    assert outcome.output == word[1:]
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == before


def test_another_beacon_does_not_write_the_slot(world: World) -> None:
    other = world.beacon(world.probe())
    front = _front(world, "attached", world.mirror())
    before = world.evm.storage(front, IMPLEMENTATION_SLOT)
    word = bytes(31) + b"\x09"
    assert world.evm.send(front, word, sender=other).output == word[1:]
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == before


def test_the_beacon_writes_the_slot_and_nothing_else(world: World) -> None:
    beacon, front = world.attached_front(world.probe(1))
    second = world.probe(2)
    outcome = world.evm.send(front, bytes.fromhex(second[2:]).rjust(32, b"\0"), sender=beacon)
    assert outcome.success
    assert outcome.output == b""
    assert outcome.logs == ()
    assert world.evm.storage(front, IMPLEMENTATION_SLOT) == int(second, 16)
    assert world.evm.storage(front, BEACON_SLOT) == int(beacon, 16)
    assert world.call_probe(front, "version") == 2


@pytest.mark.parametrize("lane", LANES)
def test_an_unknown_selector_reverts_as_the_implementation_does(world: World, lane: str) -> None:
    implementation = world.probe()
    front = _front(world, lane, implementation)
    through = world.evm.send(front, b"\xde\xad\xbe\xef", sender=world.user)
    direct = world.evm.send(implementation, b"\xde\xad\xbe\xef", sender=world.user)
    assert not through.success
    assert through.output == direct.output


def test_an_asking_front_of_a_beacon_that_fell_silent_fails(world: World) -> None:
    beacon = world.beacon(world.probe())
    front = world.front(beacon)
    _, interface = probe()
    for silent in (b"", b"\x60\x01\x5f\xf3", b"\x60\x1f\x5f\xf3"):
        world.evm.set_code(beacon, silent)
        assert not world.evm.send(front, interface.encode("version"), sender=world.user).success
    world.evm.set_code(beacon, b"\x60\xab\x60\x27\x53\x60\x28\x5f\xfd")
    outcome = world.evm.send(front, interface.encode("version"), sender=world.user)
    assert not outcome.success
    assert outcome.output == bytes(39) + b"\xab"


def test_an_attached_front_does_not_ask(world: World) -> None:
    beacon, front = world.attached_front(world.probe(3))
    world.evm.set_code(beacon, b"\xfe")
    assert world.call_probe(front, "version") == 3


def _overhead(evm: Evm, front: str, implementation: str, sender: str) -> int:
    through = evm.send(front, b"\x00", sender=sender)
    direct = evm.send(implementation, b"\x00", sender=sender)
    return through.gas_used - direct.gas_used


def test_what_a_front_adds_to_the_gas_of_a_call(world: World) -> None:
    """Attached: 2,100 for its slot, 2,600 for the implementation, 96 for itself. Asking the beacon adds 4,902."""
    implementation = world.mirror()
    asking = _overhead(world.evm, _front(world, "asking", implementation), implementation, world.user)
    attached = _overhead(world.evm, _front(world, "attached", implementation), implementation, world.user)
    assert attached == 2100 + 2600 + 96
    assert asking == attached + 4902


def test_what_passing_data_through_costs(world: World) -> None:
    """Copies only: 3 gas a word each way, and the memory they need."""
    implementation = world.mirror()
    _, front = world.attached_front(implementation)
    payload = b"\x00" + bytes(4096)
    through = world.evm.send(front, payload, sender=world.user).gas_used
    direct = world.evm.send(implementation, payload, sender=world.user).gas_used
    words = 4097 // 32 + 1
    assert through - direct < 2100 + 2600 + 96 + 10 * words
