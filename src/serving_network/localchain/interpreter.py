# SPDX-License-Identifier: Apache-2.0
"""py-evm's cancun interpreter, with faster versions of the most frequent instructions.

A fast instruction does the same as py-evm's, in one function instead of six, and the jump destinations of a contract
are computed once instead of at every call. A test runs random programs through both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from eth.abc import ComputationAPI, MessageAPI, OpcodeAPI, StateAPI, TransactionContextAPI
from eth.exceptions import (
    FullStack,
    Halt,
    InsufficientFunds,
    InsufficientStack,
    InvalidJumpDestination,
    OutOfGas,
    Revert,
)
from eth.vm import mnemonics, opcode_values
from eth.vm.forks.byzantium.opcodes import ensure_no_static
from eth.vm.forks.cancun.computation import CANCUN_PRECOMPILES, CancunComputation
from eth.vm.forks.cancun.logic import selfdestruct_eip6780
from eth.vm.forks.cancun.opcodes import CANCUN_OPCODES
from eth.vm.forks.tangerine_whistle.constants import GAS_SELFDESTRUCT_EIP150
from eth.vm.logic.invalid import InvalidOpcode
from eth.vm.memory import Memory
from eth.vm.opcode import as_opcode
from eth.vm.stack import Stack
from eth_typing import Address

from .calling import (
    CALL,
    CALLCODE,
    DELEGATECALL,
    GAS_STIPEND,
    STATICCALL,
    Code,
    Meter,
    call_instruction,
    number,
    recover_signer,
)
from .fusing import BINARY, CONSTANT, FORMULA_NAMES, UNARY, Fused, fuse
from .instructions import OWN_GAS, charge, extend_memory

PRECOMPILES = {**CANCUN_PRECOMPILES, Address(bytes(19) + b"\1"): recover_signer}
STACK_LIMIT = 1024
VISITS_BEFORE_FUSING = 30
GAS_BASE = 2
GAS_VERY_LOW = 3
GAS_MID = 8
GAS_HIGH = 10
GAS_JUMP_DESTINATION = 1

Instruction = Callable[[Any], None]


def _unary(gas: int, formula: str) -> Instruction:
    operate = _function("word", formula.format("word"))

    def run(computation: Any) -> None:
        charge(computation, gas)
        values = computation._stack.values
        if not values:
            raise InsufficientStack("wanted 1 stack item")
        values[-1] = operate(computation, computation.msg, computation.code, number(values[-1]))

    return run


def _binary(gas: int, formula: str) -> Instruction:
    operate = _function("left, right", formula.format("left", "right"))

    def run(computation: Any) -> None:
        meter = computation._gas_meter
        if meter.gas_remaining < gas:
            raise OutOfGas(f"needed {gas}, remaining {meter.gas_remaining}")
        meter.gas_remaining -= gas
        values = computation._stack.values
        if len(values) < 2:
            raise InsufficientStack("wanted 2 stack items")
        left, right = values.pop(), values[-1]
        if left.__class__ is not int:
            left = int.from_bytes(left, "big")
        if right.__class__ is not int:
            right = int.from_bytes(right, "big")
        values[-1] = operate(computation, computation.msg, computation.code, left, right)

    return run


def _constant(gas: int, formula: str) -> Instruction:
    read = _function("", formula)

    def run(computation: Any) -> None:
        charge(computation, gas)
        values = computation._stack.values
        if len(values) >= STACK_LIMIT:
            raise FullStack("stack limit reached")
        values.append(read(computation, computation.msg, computation.code))

    return run


def _function(words: str, formula: str) -> Callable[..., int]:
    """The function of an instruction, from the formula that is compiled into sequences too."""
    made: Callable[..., int] = eval(f"lambda computation, message, code, {words}: {formula}", dict(FORMULA_NAMES))  # noqa: S307
    return made


def _mnemonic(opcode: int) -> str:
    name: str = CANCUN_OPCODES[opcode].mnemonic
    return name


def _push(size: int) -> Instruction:
    gas = GAS_VERY_LOW if size else GAS_BASE

    def run(computation: Any) -> None:
        meter = computation._gas_meter
        if meter.gas_remaining < gas:
            raise OutOfGas(f"needed {gas}, remaining {meter.gas_remaining}")
        meter.gas_remaining -= gas
        values = computation._stack.values
        if len(values) >= STACK_LIMIT:
            raise FullStack("stack limit reached")
        code = computation.code
        start = code.program_counter
        end = code.program_counter = start + size
        item = code._raw_code_bytes[start:end]
        values.append(int.from_bytes(item, "big") << 8 * (size - len(item)))

    return run


def _dup(position: int) -> Instruction:
    def run(computation: Any) -> None:
        meter = computation._gas_meter
        if meter.gas_remaining < GAS_VERY_LOW:
            raise OutOfGas(f"needed {GAS_VERY_LOW}, remaining {meter.gas_remaining}")
        meter.gas_remaining -= GAS_VERY_LOW
        values = computation._stack.values
        if len(values) >= STACK_LIMIT:
            raise FullStack("stack limit reached")
        if len(values) < position:
            raise InsufficientStack(f"wanted {position} stack items")
        values.append(values[-position])

    return run


def _swap(position: int) -> Instruction:
    other = -position - 1

    def run(computation: Any) -> None:
        meter = computation._gas_meter
        if meter.gas_remaining < GAS_VERY_LOW:
            raise OutOfGas(f"needed {GAS_VERY_LOW}, remaining {meter.gas_remaining}")
        meter.gas_remaining -= GAS_VERY_LOW
        values = computation._stack.values
        if len(values) <= position:
            raise InsufficientStack(f"wanted {position + 1} stack items")
        values[-1], values[other] = values[other], values[-1]

    return run


def _pop(computation: Any) -> None:
    charge(computation, GAS_BASE)
    if not computation._stack.values:
        raise InsufficientStack("wanted 1 stack item")
    computation._stack.values.pop()


def _jump_destination(computation: Any) -> None:
    charge(computation, GAS_JUMP_DESTINATION)


def _jump(computation: Any) -> None:
    charge(computation, GAS_MID)
    values = computation._stack.values
    if not values:
        raise InsufficientStack("wanted 1 stack item")
    _go(computation, number(values.pop()))


def _jump_if(computation: Any) -> None:
    charge(computation, GAS_HIGH)
    values = computation._stack.values
    if len(values) < 2:
        raise InsufficientStack("wanted 2 stack items")
    destination, condition = values.pop(), values.pop()
    if number(condition):
        _go(computation, number(destination))


def _go(computation: Any, destination: int) -> None:
    code = computation.code
    if destination not in _jump_destinations(code._raw_code_bytes):
        raise InvalidJumpDestination("invalid jump destination")
    code.program_counter = destination


@lru_cache(maxsize=512)
def _jump_destinations(code: bytes) -> frozenset[int]:
    """The positions of all JUMPDEST instructions, without bytes that are data of a PUSH."""
    found = []
    position = 0
    while position < len(code):
        instruction = code[position]
        if instruction == opcode_values.JUMPDEST:
            found.append(position)
        elif opcode_values.PUSH1 <= instruction <= opcode_values.PUSH32:
            position += instruction - opcode_values.PUSH1 + 1
        position += 1
    return frozenset(found)


def _memory_load(computation: Any) -> None:
    charge(computation, GAS_VERY_LOW)
    values = computation._stack.values
    if not values:
        raise InsufficientStack("wanted 1 stack item")
    start = number(values[-1])
    if start + 32 > len(computation._memory._bytes):
        extend_memory(computation, start, 32)
    values[-1] = int.from_bytes(computation._memory._bytes[start : start + 32], "big")


def _memory_store(computation: Any) -> None:
    charge(computation, GAS_VERY_LOW)
    values = computation._stack.values
    if len(values) < 2:
        raise InsufficientStack("wanted 2 stack items")
    start, value = number(values.pop()), values.pop()
    if start + 32 > len(computation._memory._bytes):
        extend_memory(computation, start, 32)
    word = value.to_bytes(32, "big") if value.__class__ is int else value.rjust(32, b"\x00")
    computation._memory._bytes[start : start + 32] = word


def _return(computation: Any) -> None:
    _end(computation)
    raise Halt("RETURN")


def _revert(computation: Any) -> None:
    _end(computation)
    raise Revert(computation._output)


def _end(computation: Any) -> None:
    values = computation._stack.values
    if len(values) < 2:
        raise InsufficientStack("wanted 2 stack items")
    start, size = number(values.pop()), number(values.pop())
    extend_memory(computation, start, size)
    computation._output = bytes(computation._memory._bytes[start : start + size]) if size else b""


def _with_own_gas(operands: int, leaves: bool, work: Callable[..., Any]) -> Instruction:
    def run(computation: Any) -> None:
        values = computation._stack.values
        if len(values) < operands:
            raise InsufficientStack(f"wanted {operands} stack items")
        left = work(computation, *(number(values.pop()) for _ in range(operands)))
        if leaves:
            values.append(left)

    return run


_FAST: dict[int, tuple[str, Instruction]] = {
    **{opcode: (_mnemonic(opcode), _binary(*made)) for opcode, made in BINARY.items()},
    **{opcode: (_mnemonic(opcode), _unary(*made)) for opcode, made in UNARY.items()},
    **{opcode: (_mnemonic(opcode), _constant(*made)) for opcode, made in CONSTANT.items()},
    **{opcode: (_mnemonic(opcode), _with_own_gas(*made)) for opcode, made in OWN_GAS.items()},
    opcode_values.POP: (mnemonics.POP, _pop),
    opcode_values.MLOAD: (mnemonics.MLOAD, _memory_load),
    opcode_values.MSTORE: (mnemonics.MSTORE, _memory_store),
    opcode_values.JUMP: (mnemonics.JUMP, _jump),
    opcode_values.JUMPI: (mnemonics.JUMPI, _jump_if),
    opcode_values.JUMPDEST: (mnemonics.JUMPDEST, _jump_destination),
    opcode_values.RETURN: (mnemonics.RETURN, _return),
    opcode_values.REVERT: (mnemonics.REVERT, _revert),
    opcode_values.CALL: (mnemonics.CALL, call_instruction(CALL)),
    opcode_values.CALLCODE: (mnemonics.CALLCODE, call_instruction(CALLCODE)),
    opcode_values.DELEGATECALL: (mnemonics.DELEGATECALL, call_instruction(DELEGATECALL)),
    opcode_values.STATICCALL: (mnemonics.STATICCALL, call_instruction(STATICCALL)),
    **{opcode_values.PUSH0 + size: (f"PUSH{size}", _push(size)) for size in range(33)},
    **{opcode_values.DUP1 + position - 1: (f"DUP{position}", _dup(position)) for position in range(1, 17)},
    **{opcode_values.SWAP1 + position - 1: (f"SWAP{position}", _swap(position)) for position in range(1, 17)},
}

# py-evm warns at every SELFDESTRUCT that the instruction may be removed; cancun has it.
_SELFDESTRUCT = as_opcode(
    logic_fn=ensure_no_static(selfdestruct_eip6780),
    mnemonic=mnemonics.SELFDESTRUCT,
    gas_cost=GAS_SELFDESTRUCT_EIP150,
)

MNEMONICS: dict[int, str] = {}
"""The mnemonic of every opcode."""

_INSTRUCTIONS: dict[int, Instruction] = {}

for _opcode in range(256):
    _known: Any = CANCUN_OPCODES.get(_opcode) or InvalidOpcode(_opcode)
    if _opcode == opcode_values.SELFDESTRUCT:
        _known = _SELFDESTRUCT
    MNEMONICS[_opcode] = _FAST[_opcode][0] if _opcode in _FAST else _known.mnemonic
    _INSTRUCTIONS[_opcode] = _FAST[_opcode][1] if _opcode in _FAST else _known


# After these instructions, execution continues with the next one: they neither jump nor call.
_SEQUENTIAL = frozenset(_FAST) - {
    opcode_values.JUMP,
    opcode_values.JUMPI,
    opcode_values.CALL,
    opcode_values.CALLCODE,
    opcode_values.DELEGATECALL,
    opcode_values.STATICCALL,
}


class Computation(CancunComputation):
    """The execution of one message.

    It needs more gas than it uses, because a call passes on at most 63/64 of what is left.
    """

    opcodes = cast(dict[int, OpcodeAPI], _INSTRUCTIONS)
    _precompiles = PRECOMPILES

    def __init__(self, state: StateAPI, message: MessageAPI, transaction_context: TransactionContextAPI) -> None:
        self.state = state
        self.msg = message
        self.transaction_context = transaction_context
        self.code = Code(message.code)
        self._gas_meter = Meter(message.gas)
        self.children = []
        self.accounts_to_delete = []
        self.beneficiaries = []
        self._stack = Stack()
        self._memory = Memory()
        self._log_entries = []
        self.contracts_created: list[Address] = []
        self._needed = 0

    @property
    def needed(self) -> int:
        """The least gas with which the message does the same, if it does not depend on the gas that is left."""
        return max(self._needed, self._gas_meter.start_gas - self._gas_meter.gas_remaining)

    def note_need(self, gas: int) -> None:
        """Note that so much gas must be left now."""
        meter = self._gas_meter
        self._needed = max(self._needed, meter.start_gas - meter.gas_remaining + gas)

    def extend_memory(self, start_position: int, size: int) -> None:
        extend_memory(self, start_position, size)

    def apply_child_computation(self, child_msg: MessageAPI) -> ComputationAPI:
        child: Any = self.generate_child_computation(child_msg)
        error = child._error
        erased = child_msg.is_create if error is None else error.erases_return_data
        self.return_data = b"" if erased else child._output
        self.children.append(child)
        stipend = GAS_STIPEND if child_msg.should_transfer_value and child_msg.value and not child_msg.is_create else 0
        passed = child_msg.gas - stipend
        wanted = max(child.needed - stipend, 0)
        self.note_need(wanted + max(wanted - 1, 0) // 63 - passed)
        return cast(ComputationAPI, child)

    @classmethod
    def apply_message(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        """Transfer the value and run the code. The state is as before if it fails."""
        snapshot = state.snapshot()
        if message.value and message.should_transfer_value:
            if state.get_balance(message.sender) < message.value:
                raise InsufficientFunds("the sender cannot pay the value")
            state.delta_balance(message.sender, -message.value)
            state.delta_balance(message.storage_address, message.value)
        computation = cls.apply_computation(state, message, transaction_context, parent_computation)
        if computation.is_error:
            state.revert(snapshot)
        return computation

    @classmethod
    def apply_computation(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        """Run the code of a message to its end. A failure is in the result's `error`."""
        with cls(state, message, transaction_context) as computation:
            _note_creation(computation, parent_computation)
            precompile = computation.precompiles.get(message.code_address)
            if precompile is not None:
                precompile(computation)
                return computation
            try:
                if cls.opcodes is Computation.opcodes:
                    _run(computation)
                else:
                    while True:
                        _step(computation, cls.opcodes)
            except Halt:
                pass
        return computation


def _step(computation: Any, instructions: Any) -> int:
    """Run one instruction. Returns its opcode."""
    code = computation.code
    raw = code._raw_code_bytes
    position = code.program_counter
    code.program_counter = position + 1
    number: int = raw[position] if position < len(raw) else opcode_values.STOP
    instructions[number](computation)
    return number


def _run(computation: Any) -> None:
    """Run until an exception ends the execution. Frequent code runs in compiled functions."""
    code = computation.code
    raw = code._raw_code_bytes
    size = len(raw)
    known = _routines(raw)
    made, visits = known.made, known.visits
    while True:
        start = code.program_counter
        routine = made.get(start)
        if routine is not None:
            if routine(computation):
                continue
        elif start not in made:
            visits[start] = times = visits.get(start, 0) + 1
            if times >= VISITS_BEFORE_FUSING:
                made[start] = fuse(raw, start, _jump_destinations(raw))
                continue
        while True:
            position = code.program_counter
            code.program_counter = position + 1
            number = raw[position] if position < size else opcode_values.STOP
            _INSTRUCTIONS[number](computation)
            if number not in _SEQUENTIAL:
                break


@dataclass
class _Routines:
    """The compiled functions of one contract by start position (None: not worth compiling), and the number of visits to
    other positions."""

    made: dict[int, Fused | None] = field(default_factory=dict)
    visits: dict[int, int] = field(default_factory=dict)


@lru_cache(maxsize=512)
def _routines(code: bytes) -> _Routines:  # noqa: ARG001 - the key of the cache
    return _Routines()


def _note_creation(computation: Any, parent: Any) -> None:
    """Share the list of created contracts among all messages of a transaction; charge for the first one's initcode."""
    message = computation.msg
    if parent is None:
        computation.contracts_created = []
        if message.is_create:
            computation.consume_initcode_gas_cost(computation)
    else:
        computation.contracts_created = parent.contracts_created
    if message.is_create:
        computation.contracts_created.append(message.storage_address)
