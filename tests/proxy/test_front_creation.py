# SPDX-License-Identifier: Apache-2.0
"""A front is created, pointed at its beacon and initialised in one transaction, or not at all."""

import pytest
from eth_abi.abi import encode
from eth_utils import keccak

from tests.proxy.world import BEACON_SLOT, FRONT, IMPLEMENTATION_SLOT, World, probe, reason


def test_it_looks_to_its_beacon_and_says_so(world: World) -> None:
    beacon = world.beacon(world.probe())
    outcome = world.evm.deploy(FRONT.creation_code(beacon, b""), sender=world.owner)
    assert outcome.created is not None
    assert world.evm.storage(outcome.created, BEACON_SLOT) == int(beacon, 16)
    assert world.evm.storage(outcome.created, IMPLEMENTATION_SLOT) == 0
    (log,) = outcome.logs
    assert log.address == outcome.created
    assert log.topics == (keccak(text="BeaconUpgraded(address)"), bytes.fromhex(beacon[2:]).rjust(32, b"\0"))
    assert log.data == b""


def test_its_code_is_the_artifacts_with_the_beacon_in_it(world: World) -> None:
    beacon = world.beacon(world.probe())
    code = FRONT.deployed_bytecode
    assert code[:21] == b"\x73" + bytes(20)
    assert world.evm.code(world.front(beacon)) == b"\x73" + bytes.fromhex(beacon[2:]) + code[21:]


def test_it_is_initialised_in_the_creation_with_the_creator_and_its_coins(world: World) -> None:
    _, interface = probe()
    beacon = world.beacon(world.probe())
    creation = FRONT.creation_code(beacon, interface.encode("initialize", 77))
    outcome = world.evm.deploy(creation, sender=world.owner, value=5)
    assert outcome.created is not None
    pointed, initialised = outcome.logs
    assert pointed.topics[0] == FRONT.interface.topic("BeaconUpgraded")
    event = interface.decode_event(initialised.address, initialised.topics, initialised.data)
    assert event is not None
    assert event.address == outcome.created
    assert event.args == {"front": outcome.created, "creator": world.owner, "coins": 5}
    assert world.call_probe(outcome.created, "stored") == 77
    assert world.evm.balance(outcome.created) == 5


def test_without_data_it_may_still_be_given_coins(world: World) -> None:
    assert world.evm.balance(world.front(world.beacon(world.probe()), value=9)) == 9


def test_a_failed_initialisation_fails_the_creation_with_its_reason(world: World) -> None:
    _, interface = probe()
    beacon = world.beacon(world.probe())
    outcome = world.evm.deploy(FRONT.creation_code(beacon, interface.encode("initialize", 0)), sender=world.owner)
    assert reason(outcome) == "a probe stores something"


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 4096, 100_000])
def test_what_the_initialisation_reverts_with_comes_whole(world: World, size: int) -> None:
    beacon = world.beacon(world.mirror())
    if size > 40_000:
        return_bomb = world.create(_reverting_with_zeros(size))
        beacon = world.beacon(return_bomb)
        sent, expected = b"\x01", bytes(size)
    else:
        expected = bytes(place % 251 for place in range(size))
        sent = b"\x01" + expected
    outcome = world.evm.deploy(FRONT.creation_code(beacon, sent), sender=world.owner)
    assert not outcome.success
    assert outcome.output == expected


def test_a_beacon_must_be_a_contract(world: World) -> None:
    outcome = world.evm.deploy(FRONT.creation_code(world.stranger, b""), sender=world.owner)
    assert reason(outcome) == "ERC1967: new beacon is not a contract"


def test_what_the_beacon_answers_must_be_a_contract(world: World) -> None:
    answers_a_wallet = world.create(_answering(bytes(12) + bytes.fromhex(world.stranger[2:])))
    outcome = world.evm.deploy(FRONT.creation_code(answers_a_wallet, b""), sender=world.owner)
    assert reason(outcome) == "ERC1967: beacon implementation is not a contract"


@pytest.mark.parametrize("size", [0, 31])
def test_a_short_answer_of_the_beacon_is_refused(world: World, size: int) -> None:
    beacon = world.create(_answering(bytes(size)))
    outcome = world.evm.deploy(FRONT.creation_code(beacon, b""), sender=world.owner)
    assert not outcome.success
    assert outcome.output == bytes(size)


def test_a_beacon_that_reverts_is_refused_with_its_reason(world: World) -> None:
    beacon = world.create(_reverting_with_zeros(7))
    outcome = world.evm.deploy(FRONT.creation_code(beacon, b""), sender=world.owner)
    assert not outcome.success
    assert outcome.output == bytes(7)


def test_arguments_that_are_not_whole_and_canonical_are_refused(world: World) -> None:
    beacon = world.beacon(world.probe())
    whole = encode(["address", "bytes"], [beacon, b"\x01"])
    word = [whole[place : place + 32] for place in range(0, 128, 32)]
    malformed = [
        b"",
        word[0],
        word[0] + word[1],
        whole[:95],
        whole[:96],
        word[0] + word[1] + _word(33) + word[3],
        word[0] + word[1] + _word(2**256 - 1) + word[3],
        word[0] + word[1] + _word(2**256 - 96) + word[3],
        word[0] + _word(0x60) + _word(0) + _word(0),
        _word(2**160 + int(beacon, 16)) + word[1] + _word(0),
        _word(2**255 + int(beacon, 16)) + word[1] + _word(0),
    ]
    for arguments in malformed:
        outcome = world.evm.deploy(FRONT.bytecode + arguments, sender=world.owner)
        assert not outcome.success, arguments.hex()
        assert outcome.output == b""


def test_arguments_may_stop_where_the_data_stops(world: World) -> None:
    _, interface = probe()
    data = interface.encode("initialize", 3)
    beacon = world.beacon(world.probe())
    arguments = encode(["address", "bytes"], [beacon, data])[: 96 + len(data)]
    assert world.call_probe(world.create(FRONT.bytecode + arguments), "stored") == 3


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _answering(answer: bytes) -> bytes:
    """Creation code of a contract that returns `answer` to any call."""
    return _returning_code(b"\x60%c\x60\x0a\x5f\x39\x60%c\x5f\xf3" % (len(answer), len(answer)) + answer)


def _reverting_with_zeros(size: int) -> bytes:
    """Creation code of a contract that reverts with `size` zeros."""
    return _returning_code(b"\x62" + size.to_bytes(3, "big") + b"\x5f\xfd")


def _returning_code(code: bytes) -> bytes:
    return b"\x60%c\x80\x60\x09\x5f\x39\x5f\xf3" % len(code) + code
