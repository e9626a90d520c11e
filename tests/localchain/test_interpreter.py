# SPDX-License-Identifier: Apache-2.0
"""The fast instructions compared with py-evm's, on random programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from eth.vm import opcode_values
from eth.vm.forks.cancun.computation import CancunComputation
from eth_keys.datatypes import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.hashing import keccak
from serving_network.localchain import interpreter
from serving_network.localchain.evm import BlockContext, EvmState, ExternalMessage, MessageResult, execute
from serving_network.localchain.fusing import BINARY, UNARY
from serving_network.localchain.interpreter import _FAST, Computation
from serving_network.localchain.world import AccountState, Changes, Slot, World
from tests.localchain.programs import assemble

NO_CODE = keccak(b"")
SENDER, CONTRACT = bytes(range(1, 21)), b"\x22" * 20
OTHERS = [
    opcode_values.SHA3,
    opcode_values.CALLDATASIZE,
    opcode_values.ADDRESS,
    opcode_values.MSTORE8,
    opcode_values.MSIZE,
    opcode_values.SLOAD,
    opcode_values.SSTORE,
    opcode_values.TLOAD,
    opcode_values.TSTORE,
    opcode_values.SDIV,
    opcode_values.EXP,
    opcode_values.BYTE,
    opcode_values.GAS,
    opcode_values.PC,
    opcode_values.RETURN,
    opcode_values.REVERT,
]
instructions = st.sampled_from(sorted(_FAST) + OTHERS)
pushes = st.one_of(
    st.integers(0, 255).map(lambda value: bytes([opcode_values.PUSH1, value])),
    st.binary(min_size=32, max_size=32).map(lambda value: bytes([opcode_values.PUSH32]) + value),
)
programs = st.lists(st.one_of(pushes, pushes, instructions.map(lambda number: bytes([number]))), max_size=60)


MODES = {"one by one": 10**9, "fused": 1}
"""The visits before fusing: every instruction by itself, or functions for everything that can be compiled."""


@contextmanager
def mode(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "VISITS_BEFORE_FUSING", MODES[name])
        interpreter._routines.cache_clear()
        yield
    interpreter._routines.cache_clear()


@pytest.fixture(scope="module", params=MODES)
def fusing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once in each mode."""
    with mode(request.param):
        yield


EDGES = [0, 1, 31, 255, 256, 2**255, 2**256 - 1]
BYTES = st.integers(0, 255)
PIECES = [
    "PUSH1 0x{0:02x}",
    "DUP{1}",
    "DUP{1}",
    "SWAP{1}",
    "POP",
    "ADD",
    "SUB",
    "MUL",
    "AND",
    "EQ",
    "ISZERO",
    "GAS",
    "CALLER",
    "ORIGIN",
    "POP DUP1 PUSH1 0x01 AND :{2} JUMPI",
    "RETURNDATASIZE",
    "PUSH1 0x{0:02x} MLOAD",
    "PUSH1 0x{0:02x} CALLDATALOAD",
    "PUSH1 0x{0:02x} SLOAD",
    "DUP{1} PUSH1 0x{0:02x} SSTORE",
    "DUP{1} PUSH1 0x{0:02x} MSTORE",
    "PUSH1 0x{1:02x} PUSH1 0x{0:02x} SHA3",
    "PUSH1 0x{1:02x} PUSH1 0x{0:02x} DUP1 MCOPY",
    "PUSH1 0x{1:02x} PUSH0 PUSH1 0x{0:02x} CALLDATACOPY",
    "DUP{1} DUP{1} PUSH1 0x{1:02x} PUSH1 0x{0:02x} LOG2",
    "PUSH1 0x{1:02x} PUSH0 PUSH1 0x{0:02x} RETURNDATACOPY",
    "PUSH1 0x{0:02x} DUP{1} PUSH1 0x{0:02x} CODECOPY",
    "DUP{1} PUSH1 0x{1:02x} TSTORE PUSH1 0x{0:02x} TLOAD",
    "PUSH1 0x20 PUSH0 PUSH1 0x80 PUSH0 PUSH1 0x{1:02x} GAS STATICCALL",
    "PUSH1 0x20 PUSH0 PUSH1 0x80 PUSH0 DUP{1} PUSH1 0x{1:02x} GAS CALL",
    "PUSH1 0x20 PUSH0 PUSH1 0x80 PUSH0 PUSH1 0x{0:02x} ADDRESS PUSH2 0x2{0:02x}0 CALL",
    "PUSH1 0x{0:02x} PUSH0 PUSH1 0x{1:02x} PUSH0 PUSH1 0x{1:02x} ADDRESS PUSH2 0x2{0:02x}0 CALLCODE",
    "PUSH1 0x{0:02x} PUSH0 PUSH1 0x80 PUSH0 ADDRESS PUSH2 0x1{0:02x}0 STATICCALL",
    "PUSH1 0x{0:02x} PUSH0 PUSH1 0x80 PUSH0 ADDRESS PUSH2 0x1{0:02x}0 DELEGATECALL",
    "DUP{1} PUSH1 0x01 AND :{2} JUMPI",
    "DUP{1} PUSH1 0x01 AND :{2} JUMPI",
    ":{2} JUMP",
]


def body(name: str) -> st.SearchStrategy[str]:
    """Instructions after a label, with jumps forward and rarely back."""
    targets = st.sampled_from(3 * [later for later in MARKS if later > name] + [name])
    pieces = st.tuples(st.sampled_from(PIECES), BYTES, st.integers(1, 8), targets)
    drawn = st.lists(pieces.map(lambda one: one[0].format(*one[1:])), min_size=2, max_size=12)
    return drawn.map(lambda words: f" @{name} {' '.join(words)}")


MARKS = "abcdz"
# The stack is deep enough for most of them. At the end it is returned, unless memory instructions overwrote it.
loops = st.tuples(*(body(name) for name in MARKS[:-1])).map(
    lambda bodies: assemble(
        " ".join(f"PUSH1 0x{number:02x}" for number in range(20))
        + "".join(bodies)
        + " @z"
        + "".join(f" PUSH2 0x{32 * place:04x} MSTORE" for place in range(12))
        + " PUSH2 0x0200 PUSH0 RETURN"
    )
)


CONTEXT = BlockContext(1, 1, 1, 30_000_000, 0, bytes(20), bytes(32), lambda _: bytes(32))


def world(code: bytes, slots: dict[Slot, int] | None = None) -> World:
    made, code_hash = World(), keccak(code)
    made.commit(
        Changes(
            accounts={SENDER: AccountState(0, 10**18, NO_CODE), CONTRACT: AccountState(1, 1000, code_hash)},
            slots=slots or {},
            codes={code_hash: code},
        )
    )
    return made


def run_on(base: World, data: bytes, gas: int, kind: type[CancunComputation]) -> tuple[MessageResult, Changes]:
    state = EvmState(base, CONTEXT)
    return execute(state, ExternalMessage(SENDER, CONTRACT, 0, data, gas), kind), state.changes


def run(code: bytes, data: bytes, gas: int, kind: type[CancunComputation]) -> tuple[MessageResult, Changes]:
    return run_on(world(code), data, gas, kind)


def observed(result: MessageResult) -> tuple[bool, bool, MessageResult]:
    """How it ended, and all else but the need for gas, which py-evm does not report."""
    return result.success, result.reverted, replace(result, error=None, gas_needed=0)


@pytest.mark.usefixtures("fusing")
@pytest.mark.filterwarnings("ignore:SELFDESTRUCT")
@settings(max_examples=400)
@given(program=programs, data=st.binary(max_size=70), gas=st.integers(21_000 + 70 * 16, 120_000))
def test_fast_instructions_do_what_py_evm_does(program: list[bytes], data: bytes, gas: int) -> None:
    code = b"".join(program)
    ours, our_changes = run(code, data, gas, Computation)
    theirs, their_changes = run(code, data, gas, CancunComputation)
    assert observed(ours) == observed(theirs)
    assert our_changes == their_changes


@pytest.mark.usefixtures("fusing")
@pytest.mark.filterwarnings("ignore:SELFDESTRUCT")
@settings(max_examples=100)
@given(code=loops, data=st.binary(max_size=70), gas=st.integers(22_120, 100_000))
def test_loops_do_what_py_evm_does(code: bytes, data: bytes, gas: int) -> None:
    ours, our_changes = run(code, data, gas, Computation)
    theirs, their_changes = run(code, data, gas, CancunComputation)
    assert observed(ours) == observed(theirs)
    assert our_changes == their_changes


DEEP = assemble("PUSH1 0x07 " * 18)
RETURN_TOP = assemble("PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN")
FULL_EDGES = [0, 1, 2, 31, 32, 255, 256, 2**255, 2**256 - 1]
# The two words on top come from storage, so that programs differ in their state only and are compiled once.
CASES = [(b"", 0, 0)] + [
    (below + assemble("PUSH1 0x01 SLOAD PUSH0 SLOAD"), first, second)
    for below in (b"", DEEP)
    for first in FULL_EDGES
    for second in FULL_EDGES
]
# In these the compiler sees the words.
CONSTANTS = [(DEEP + assemble(f"PUSH2 0x0100 PUSH32 0x{first:064x}"), 0, 0) for first in FULL_EDGES]


@pytest.mark.parametrize("operation", sorted(_FAST))
def test_each_fast_instruction_alone(operation: int) -> None:
    """On full, short and empty stacks, with boundary values."""
    ending = bytes([operation]) + RETURN_TOP
    worlds = [
        world(stack + ending, {(CONTRACT, 0): first, (CONTRACT, 1): second})
        for stack, first, second in CASES + CONSTANTS
    ]

    def outcomes(kind: type[CancunComputation]) -> Iterator[Any]:
        for base in worlds:
            result, changes = run_on(base, b"\x01" * 40, 100_000, kind)
            yield observed(result), changes

    theirs = list(outcomes(CancunComputation))
    for name in MODES:
        with mode(name):
            assert list(outcomes(Computation)) == theirs


@pytest.mark.usefixtures("fusing")
@pytest.mark.parametrize("gas", ["PUSH3 0x00c350", "PUSH2 0x0384", "PUSH0", "GAS"])
@pytest.mark.parametrize("value", ["PUSH0 ", "PUSH1 0x05 ", "PUSH2 0xffff "])
@pytest.mark.parametrize("kind", ["CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"])
def test_what_a_called_contract_may_do_and_what_its_caller_sees(kind: str, value: str, gas: str) -> None:
    pays = value if kind in ("CALL", "CALLCODE") else ""
    for body in (
        "PUSH1 0x07 PUSH1 0x08 SSTORE STOP",
        "PUSH1 0x07 PUSH1 0x08 TSTORE STOP",
        "PUSH0 PUSH1 0x21 LOG0 STOP",
        "PUSH0 PUSH0 PUSH0 PUSH0 PUSH1 0x01 PUSH1 0x99 PUSH2 0x1388 CALL PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN",
        "CALLER PUSH0 MSTORE CALLVALUE PUSH1 0x20 MSTORE ADDRESS PUSH1 0x40 MSTORE PUSH1 0x60 PUSH0 RETURN",
        "CALLDATASIZE PUSH0 MSTORE PUSH1 0x11 PUSH1 0x0f REVERT",
        "PUSH1 0x01 PUSH0 RETURN",
        "PUSH1 0x05 PUSH0 PUSH0 RETURNDATACOPY",
        "INVALID",
    ):
        code = assemble(
            f"CALLDATASIZE :inner JUMPI PUSH1 0x20 PUSH1 0x40 PUSH1 0x21 PUSH0 {pays} ADDRESS {gas} {kind} "
            "PUSH0 MSTORE RETURNDATASIZE PUSH1 0x20 MSTORE RETURNDATASIZE PUSH0 PUSH1 0x80 RETURNDATACOPY "
            f"PUSH2 0x0120 PUSH0 RETURN @inner {body}"
        )
        ours, theirs = (run(code, b"", 200_000, made) for made in (Computation, CancunComputation))
        assert observed(ours[0]) == observed(theirs[0])
        assert ours[1] == theirs[1]


@pytest.mark.parametrize("changed", [None, *range(0, 128, 9), 63])
def test_signers_are_recovered_as_by_py_evm(changed: int | None) -> None:
    key, digest = PrivateKey(bytes(31) + b"\7"), keccak(b"digest")
    signature = key.sign_msg_hash(digest)
    words = [27 + signature.v, signature.r, signature.s]
    data = bytearray(digest + b"".join(one.to_bytes(32, "big") for one in words))
    if changed is not None:
        data[changed] ^= 0xFF
    code = assemble(
        "CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY PUSH1 0x20 PUSH1 0xc0 PUSH1 0x80 PUSH0 PUSH1 0x01 GAS STATICCALL "
        "PUSH1 0xe0 MSTORE RETURNDATASIZE PUSH2 0x0100 MSTORE PUSH1 0x60 PUSH1 0xc0 RETURN"
    )
    ours, theirs = (run(code, bytes(data), 200_000, made)[0] for made in (Computation, CancunComputation))
    assert observed(ours) == observed(theirs)
    assert (key.public_key.to_canonical_address() in ours.output) == (changed is None)


@pytest.mark.usefixtures("fusing")
@pytest.mark.parametrize("operation", sorted({**BINARY, **UNARY}))
def test_arithmetic_on_words_that_are_not_known_in_advance(operation: int) -> None:
    code = assemble("PUSH1 0x20 CALLDATALOAD PUSH0 CALLDATALOAD") + bytes([operation])
    code += assemble("PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN")
    for first in EDGES:
        for second in EDGES:
            data = first.to_bytes(32, "big") + second.to_bytes(32, "big")
            ours, theirs = (run(code, data, 100_000, kind)[0] for kind in (Computation, CancunComputation))
            assert (ours.success, ours.output, ours.gas_used) == (theirs.success, theirs.output, theirs.gas_used)


@pytest.mark.usefixtures("fusing")
@pytest.mark.parametrize(
    "text",
    [
        "PUSH1 0x01 PUSH1 0x60 MSTORE",
        "PUSH2 0x0100 MLOAD POP",
        "PUSH1 0x40 PUSH1 0x30 SHA3 POP",
        "PUSH0 SLOAD PUSH0 SLOAD POP POP",
        "PUSH1 0x21 PUSH0 PUSH1 0x40 MCOPY",
        "PUSH1 0x21 PUSH0 PUSH1 0x40 CALLDATACOPY",
    ],
)
@pytest.mark.parametrize("behind", ["PUSH1 0x01 PUSH1 0x02 ADD", ""])
def test_with_every_amount_of_gas(text: str, behind: str) -> None:
    code = assemble(f"PUSH1 0x05 {text} {behind} STOP")
    enough = run(code, b"", 50_000, CancunComputation)[0].gas_used
    for gas in range(max(21_000, enough - 60), enough + 3):
        ours, theirs = (run(code, b"", gas, kind)[0] for kind in (Computation, CancunComputation))
        assert (ours.success, ours.gas_used) == (theirs.success, theirs.gas_used)


@pytest.mark.usefixtures("fusing")
def test_a_jump_into_the_data_of_a_push_fails() -> None:
    # Position 3 is a JUMPDEST byte, but it is data of the PUSH1 before it.
    code = assemble("PUSH1 0x04 JUMP PUSH1 0x5b STOP")
    for kind in (Computation, CancunComputation):
        assert not run(code, b"", 50_000, kind)[0].success


@pytest.mark.usefixtures("fusing")
def test_a_push_at_the_end_of_the_code_is_filled_with_zeros() -> None:
    code = assemble("PUSH1 0x01 PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN PUSH4 0xff")
    assert run(code, b"", 50_000, Computation)[0].output == (1).to_bytes(32, "big")
    code = assemble(":end JUMP @end PUSH2 0xff")
    ours, theirs = run(code, b"", 50_000, Computation)[0], run(code, b"", 50_000, CancunComputation)[0]
    assert ours.success
    assert theirs.success
    assert ours.gas_used == theirs.gas_used


@pytest.mark.usefixtures("fusing")
def test_the_stack_holds_1024_items() -> None:
    for count, fits in ((1024, True), (1025, False)):
        assert run(assemble("PUSH0 " * count), b"", 50_000, Computation)[0].success is fits
        assert run(assemble("PUSH0 " * count), b"", 50_000, CancunComputation)[0].success is fits
