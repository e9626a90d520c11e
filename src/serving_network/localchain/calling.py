# SPDX-License-Identifier: Apache-2.0
"""Messages between contracts: the four call instructions, and what one message needs to run.

py-evm's versions check every argument that they have made themselves. These do the same work without the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from eth.exceptions import InsufficientStack, OutOfGas, WriteProtection
from eth.vm.code_stream import CodeStream
from eth.vm.gas_meter import GasMeter, allow_negative_refund_strategy

from serving_network.hashing import keccak
from serving_network.signing import recovered_public_key

from .instructions import charge, extend_memory

GAS_COLD_ACCOUNT = 2_600
GAS_WARM = 100
GAS_VALUE = 9_000
GAS_NEW_ACCOUNT = 25_000
GAS_STIPEND = 2_300
GAS_RECOVERY = 3_000
DEEPEST = 1_024
SIGNATURE_BYTES = 128
_ADDRESS = 2**160 - 1


class ChildMessage:
    """A message that a contract sends to another one. It has the attributes of py-evm's message."""

    __slots__ = (
        "code",
        "code_address",
        "data",
        "depth",
        "gas",
        "is_static",
        "sender",
        "should_transfer_value",
        "storage_address",
        "to",
        "value",
    )
    code: bytes
    code_address: bytes
    data: bytes
    depth: int
    gas: int
    is_static: bool
    sender: bytes
    should_transfer_value: bool
    storage_address: bytes
    to: bytes
    value: int
    is_create = False
    refund = 0

    @property
    def data_as_bytes(self) -> bytes:
        """The call data."""
        return bytes(self.data)


class Code(CodeStream):
    """The code of a message and the position in it."""

    __slots__ = ()

    def __init__(self, code: bytes) -> None:
        self.program_counter = 0
        self._raw_code_bytes = code
        self._length_cache = len(code)


class Meter(GasMeter):
    """The gas of a message."""

    def __init__(self, gas: int) -> None:
        self.start_gas = self.gas_remaining = gas
        self.gas_refunded = 0
        self.refund_strategy = allow_negative_refund_strategy


class CallKind(NamedTuple):
    """What distinguishes a call instruction."""

    has_value: bool
    keeps_storage: bool
    """Whether the code runs on the storage of the caller."""
    keeps_caller: bool
    is_static: bool


CALL = CallKind(has_value=True, keeps_storage=False, keeps_caller=False, is_static=False)
CALLCODE = CallKind(has_value=True, keeps_storage=True, keeps_caller=False, is_static=False)
DELEGATECALL = CallKind(has_value=False, keeps_storage=True, keeps_caller=True, is_static=False)
STATICCALL = CallKind(has_value=False, keeps_storage=False, keeps_caller=False, is_static=True)


def number(item: Any) -> int:
    """A word on the stack as a number."""
    return item if item.__class__ is int else int.from_bytes(item, "big")


def call_instruction(kind: CallKind) -> Callable[[Any], None]:
    """The instruction that sends a message of this kind."""
    operands = 7 if kind.has_value else 6

    def run(computation: Any) -> None:
        stack = computation._stack.values
        if len(stack) < operands:
            raise InsufficientStack(f"wanted {operands} stack items")
        wanted, target = number(stack.pop()), number(stack.pop()) & _ADDRESS
        value = number(stack.pop()) if kind.has_value else 0
        start, size, result_start, result_size = (number(stack.pop()) for _ in range(4))
        parent, state, meter = computation.msg, computation.state, computation._gas_meter
        if kind is CALL and value and parent.is_static:
            raise WriteProtection("Cannot modify state while inside of a STATICCALL context")
        extend_memory(computation, start, size)
        extend_memory(computation, result_start, result_size)
        address = target.to_bytes(20, "big")
        if state.is_address_warm(address):
            charge(computation, GAS_WARM)
        else:
            state.mark_address_warm(address)
            charge(computation, GAS_COLD_ACCOUNT)
        extra = GAS_VALUE if value else 0
        if kind is CALL and value and state.account_is_empty(address):
            extra += GAS_NEW_ACCOUNT
        available = meter.gas_remaining - extra
        if available < 0:
            raise OutOfGas(f"needed {extra}, remaining {meter.gas_remaining}")
        passed = min(wanted, available - available // 64)
        charge(computation, passed + extra)
        gas = passed + GAS_STIPEND if value else passed
        if (value and state.get_balance(parent.storage_address) < value) or parent.depth + 1 > DEEPEST:
            computation.return_data = b""
            meter.gas_remaining += gas
            stack.append(0)
            return
        message = ChildMessage()
        message.gas = gas
        message.to = message.storage_address = parent.storage_address if kind.keeps_storage else address
        message.code_address = address
        message.sender = parent.sender if kind.keeps_caller else parent.storage_address
        message.value = parent.value if kind.keeps_caller else value
        message.should_transfer_value = kind.has_value
        message.data = bytes(computation._memory._bytes[start : start + size]) if size else b""
        message.code = state.get_code(address)
        message.depth = parent.depth + 1
        message.is_static = kind.is_static or parent.is_static
        child = computation.apply_child_computation(message)
        error = child._error
        stack.append(0 if error else 1)
        if error is None or not error.erases_return_data:
            output = child._output[:result_size]
            if output:
                computation._memory._bytes[result_start : result_start + len(output)] = output
        if error is None or not error.burns_gas:
            meter.gas_remaining += child._gas_meter.gas_remaining

    return run


def recover_signer(computation: Any) -> None:
    """The precompiled contract that recovers the signer of a hash."""
    charge(computation, GAS_RECOVERY)
    computation.output = _recovered(bytes(computation.msg.data[:SIGNATURE_BYTES]).ljust(SIGNATURE_BYTES, b"\0"))


@lru_cache(maxsize=4096)
def _recovered(data: bytes) -> bytes:
    """The signer as a word; empty for an invalid signature. Calls, estimates and blocks check the same one."""
    parity = int.from_bytes(data[32:64], "big") - 27
    if parity not in (0, 1):
        return b""
    public_key = recovered_public_key(data[:32], data[64:] + bytes([parity]))
    return b"" if public_key is None else keccak(public_key)[-20:].rjust(32, b"\0")
