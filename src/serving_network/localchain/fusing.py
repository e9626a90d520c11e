# SPDX-License-Identifier: Apache-2.0
"""Compile frequent sequences of instructions into Python functions.

Most instructions of a contract move words on the stack. In a compiled sequence these words are local variables, and
most of the moves disappear. A function contains the instructions from one position on, across jumps with a constant
destination, up to an instruction that only the interpreter supports.

A function changes nothing unless all of it can succeed: with too little gas, or too few or too many words on the
stack, it returns False, and the interpreter executes the instructions one by one, with the exact failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from eth.exceptions import InvalidJumpDestination
from eth.vm import opcode_values as op

from .instructions import OWN_GAS, extend_memory

Fused = Callable[[Any], bool]

STACK_LIMIT = 1024
MOST_INSTRUCTIONS = 100
FEWEST_INSTRUCTIONS = 2
_MASK = hex(2**256 - 1)
_SIGN = hex(2**255)

# The gas and the result of instructions with two operands: {0} is the top of the stack, {1} the word below.
BINARY = {
    op.ADD: (3, f"({{0}} + {{1}}) & {_MASK}"),
    op.SUB: (3, f"({{0}} - {{1}}) & {_MASK}"),
    op.MUL: (5, f"({{0}} * {{1}}) & {_MASK}"),
    op.DIV: (5, "{0} // {1} if {1} else 0"),
    op.MOD: (5, "{0} % {1} if {1} else 0"),
    op.AND: (3, "{0} & {1}"),
    op.OR: (3, "{0} | {1}"),
    op.XOR: (3, "{0} ^ {1}"),
    op.EQ: (3, "1 if {0} == {1} else 0"),
    op.LT: (3, "1 if {0} < {1} else 0"),
    op.GT: (3, "1 if {0} > {1} else 0"),
    op.SHL: (3, f"({{1}} << {{0}}) & {_MASK} if {{0}} < 256 else 0"),
    op.SHR: (3, "{1} >> {0}"),
    op.SAR: (3, f"(({{1}} - ({{1}} >> 255 << 256)) >> ({{0}} if {{0}} < 256 else 256)) & {_MASK}"),
    op.SLT: (3, f"1 if {{0}} ^ {_SIGN} < {{1}} ^ {_SIGN} else 0"),
    op.SGT: (3, f"1 if {{0}} ^ {_SIGN} > {{1}} ^ {_SIGN} else 0"),
    op.BYTE: (3, "{1} >> 248 - 8 * {0} & 255 if {0} < 32 else 0"),
}
UNARY = {
    op.ISZERO: (3, "0 if {0} else 1"),
    op.NOT: (3, f"{_MASK} - {{0}}"),
    op.CALLDATALOAD: (3, 'number(bytes(message.data[{0} : {0} + 32]).ljust(32, ZERO), "big")'),
}
CONSTANT = {
    op.ADDRESS: (2, 'number(message.storage_address, "big")'),
    op.CALLER: (2, 'number(message.sender, "big")'),
    op.RETURNDATASIZE: (2, "len(computation.return_data)"),
    op.CALLVALUE: (2, "message.value"),
    op.CALLDATASIZE: (2, "len(message.data)"),
    op.CODESIZE: (2, "len(code._raw_code_bytes)"),
    op.TIMESTAMP: (2, "computation.state.timestamp"),
}
FORMULA_NAMES: dict[str, Any] = {"number": int.from_bytes, "ZERO": b"\0"}
"""What the formulas use, with the names `computation`, `message` and `code`."""


def fuse(code: bytes, start: int, destinations: Collection[int]) -> Fused | None:
    """Compile the instructions from `start` on; None if too few of them are supported.

    The function returns False if it did nothing. `destinations` are the valid jump destinations.
    """
    return _Fuser(code, start, destinations).made()


def _extended(computation: Any, start: int, gas: int) -> int:
    """Extend the memory to the word at `start`. Returns what is left of the gas."""
    computation._gas_meter.gas_remaining = gas
    extend_memory(computation, start, 32)
    left: int = computation._gas_meter.gas_remaining
    return left


def _left(computation: Any, position: int, gas: int, gone: int, words: tuple[int, ...]) -> bool:
    """Store the stack and the gas, and continue at `position`."""
    values = computation._stack.values
    if gone:
        del values[-gone:]
    values.extend(words)
    computation._gas_meter.gas_remaining = gas
    computation.code.program_counter = position
    return True


class _Fuser:
    """Generates the source of one function.

    A word on the stack is written as a number, as `w7` for the seventh word that was computed, or as `i2` for the
    second word from the top of the initial stack.
    """

    def __init__(self, code: bytes, start: int, destinations: Collection[int]) -> None:
        self._code = code
        self._start = start
        self._destinations = destinations
        self._lines: list[str] = []
        self._stack: list[str] = []
        self._taken = 0
        self._converted: set[str] = set()
        self._words = 0
        self._gas = 0
        self._growth = 0
        self._done = 0

    def made(self) -> Fused | None:
        position: int | None = self._start
        seen: set[int] = set()
        while position is not None:
            following = None
            if position not in seen and position < len(self._code) and self._done < MOST_INSTRUCTIONS:
                seen.add(position)
                following = self._instruction(position)
                self._growth = max(self._growth, len(self._stack) - self._taken)
            if following is None:
                self._leave(str(position))
            elif following < 0:
                following = None
            position = following
        return self._function() if self._done >= FEWEST_INSTRUCTIONS else None

    def _instruction(self, position: int) -> int | None:
        """Generate one instruction. Returns the position of the next one, None if this one is not supported, and -1 if
        the function ends with it."""
        instruction = self._code[position]
        following = position + 1
        gas = 3
        if op.PUSH0 <= instruction <= op.PUSH32:
            size = instruction - op.PUSH0
            gas = 3 if size else 2
            following += size
            if following > len(self._code):
                return None
            self._stack.append(str(int.from_bytes(self._code[position + 1 : following], "big")))
        elif op.DUP1 <= instruction <= op.DUP16:
            self._reach(instruction - op.DUP1 + 1)
            self._stack.append(self._stack[op.DUP1 - instruction - 1])
        elif op.SWAP1 <= instruction <= op.SWAP16:
            other = op.SWAP1 - instruction - 2
            self._reach(-other)
            self._stack[-1], self._stack[other] = self._stack[other], self._stack[-1]
        elif instruction == op.POP:
            gas = 2
            self._pop()
        elif instruction == op.JUMPDEST:
            gas = 1
        elif instruction in BINARY:
            gas, formula = BINARY[instruction]
            left, right = self._pop_number(), self._pop_number()
            self._push(formula.format(left, right))
        elif instruction in UNARY:
            gas, formula = UNARY[instruction]
            self._push(formula.format(self._pop_number()))
        elif instruction in CONSTANT:
            gas, formula = CONSTANT[instruction]
            self._push(formula)
        elif instruction in (op.MLOAD, op.MSTORE):
            self._gas += gas
            self._done += 1
            self._memory(instruction, following)
            return following
        elif instruction in OWN_GAS:
            self._done += 1
            self._own_gas(instruction, following)
            return following
        elif instruction == op.GAS:
            gas = 2
            self._push(f"gas - {self._gas + gas}")
        elif instruction in (op.JUMP, op.JUMPI):
            return self._jump(instruction, following)
        else:
            return None
        self._gas += gas
        self._done += 1
        return following

    def _memory(self, instruction: int, following: int) -> None:
        start = self._pop_number()
        value = self._pop_number() if instruction == op.MSTORE else ""
        self._lines.append(
            f"if {start} + 32 > len(memory._bytes): "
            f"gas = extended(computation, {start}, gas - {self._gas}) + {self._gas}"
        )
        if instruction == op.MSTORE:
            self._lines.append(f'memory._bytes[{start} : {start} + 32] = ({value}).to_bytes(32, "big")')
        else:
            self._push(f'number(memory._bytes[{start} : {start} + 32], "big")')
        self._check_gas(following)

    def _own_gas(self, instruction: int, following: int) -> None:
        operands, leaves, _ = OWN_GAS[instruction]
        words = "".join(f", {self._pop_number()}" for _ in range(operands))
        call = f"{OWN_GAS[instruction][2].__name__}(computation{words})"
        self._lines.append(f"meter.gas_remaining = gas - {self._gas}")
        if leaves:
            self._push(call)
        else:
            self._lines.append(call)
        self._lines.append(f"gas = meter.gas_remaining + {self._gas}")
        self._check_gas(following)

    def _check_gas(self, following: int) -> None:
        """Leave the function if the remaining gas no longer covers its instructions with constant gas."""
        gone, new = self._replaced()
        words = "".join(f"{word}, " for word in new)
        self._lines.append(f"if gas < ALL: return left(computation, {following}, gas - {self._gas}, {gone}, ({words}))")

    def _jump(self, instruction: int, following: int) -> int | None:
        self._reach(1 if instruction == op.JUMP else 2)
        target = self._stack[-1]
        if target.isdigit() and int(target) not in self._destinations:
            return None
        self._gas += 8 if instruction == op.JUMP else 10
        self._done += 1
        target = self._pop_number()
        known = target.isdigit()
        if instruction == op.JUMP:
            if known:
                return int(target)
            self._lines.append(
                f"if {target} not in DESTINATIONS: raise InvalidJumpDestination('invalid jump destination')"
            )
            self._leave(target)
            return -1
        condition = self._pop_number()
        self._lines.append(f"if {condition}:")
        if not known:
            self._lines.append(
                f"    if {target} not in DESTINATIONS: raise InvalidJumpDestination('invalid jump destination')"
            )
        self._leave(target, indent="    ")
        return following

    def _reach(self, depth: int) -> None:
        while len(self._stack) < depth:
            self._taken += 1
            self._stack.insert(0, f"i{self._taken}")

    def _pop(self) -> str:
        self._reach(1)
        return self._stack.pop()

    def _pop_number(self) -> str:
        """Pop a word as a number: words on the initial stack may be bytes."""
        word = self._pop()
        if word[0] == "i" and word not in self._converted:
            self._converted.add(word)
            self._lines.append(f'if {word}.__class__ is not int: {word} = number({word}, "big")')
        return word

    def _push(self, formula: str) -> None:
        self._words += 1
        self._lines.append(f"w{self._words} = {formula}")
        self._stack.append(f"w{self._words}")

    def _leave(self, position: str, indent: str = "") -> None:
        """Generate the code that stores the stack and the gas, and continues at `position`."""
        gone, new = self._replaced()
        words = "".join(f"{word}, " for word in new)
        lines = []
        if gone and new:
            lines.append(f"values[-{gone}:] = ({words})")
        elif gone:
            lines.append(f"del values[-{gone}:]")
        elif len(new) == 1:
            lines.append(f"values.append({new[0]})")
        elif new:
            lines.append(f"values.extend(({words}))")
        lines += [f"meter.gas_remaining = gas - {self._gas}", f"code.program_counter = {position}", "return True"]
        self._lines += [indent + line for line in lines]

    def _replaced(self) -> tuple[int, list[str]]:
        """How many words are gone from the initial stack, and the words in their place."""
        kept = 0
        while kept < min(self._taken, len(self._stack)) and self._stack[kept] == f"i{self._taken - kept}":
            kept += 1
        return self._taken - kept, self._stack[kept:]

    def _function(self) -> Fused:
        head = [
            "meter = computation._gas_meter",
            "gas = meter.gas_remaining",
            "values = computation._stack.values",
            f"if gas < ALL or not {self._taken} <= len(values) <= {STACK_LIMIT - self._growth}: return False",
            "code = computation.code",
            "memory = computation._memory",
            "message = computation.msg",
            *(f"i{depth} = values[-{depth}]" for depth in range(1, self._taken + 1)),
        ]
        body = "\n".join(f"    {line}" for line in head + self._lines).replace("gas < ALL", f"gas < {self._gas}")
        names = FORMULA_NAMES | {
            "DESTINATIONS": self._destinations,
            "InvalidJumpDestination": InvalidJumpDestination,
            "extended": _extended,
            "left": _left,
            **{made.__name__: made for _, _, made in OWN_GAS.values()},
        }
        exec(compile(f"def fused(computation):\n{body}", f"<instructions from {self._start}>", "exec"), names)  # noqa: S102
        fused: Fused = names["fused"]
        return fused
