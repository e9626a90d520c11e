# SPDX-License-Identifier: Apache-2.0
"""Instructions that charge their own gas: those of memory, storage, transient storage and logs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from eth.exceptions import OutOfBoundsRead, OutOfGas, WriteProtection
from eth.vm import opcode_values as op

from serving_network.hashing import keccak

GAS_VERY_LOW = 3
GAS_HASH = 30
GAS_HASH_WORD = 6
GAS_COPY_WORD = 3
GAS_WARM = 100
GAS_COLD_SLOT = 2_100
GAS_SET_SLOT = 20_000
GAS_RESET_SLOT = 2_900
REFUND_CLEARED_SLOT = 4_800
GAS_LOG = 375
GAS_LOG_BYTE = 8
STORE_SENTRY = 2_300
MOST_TOPICS = 4


def charge(computation: Any, gas: int) -> None:
    """Consume gas. Raises OutOfGas."""
    meter = computation._gas_meter
    if meter.gas_remaining < gas:
        raise OutOfGas(f"needed {gas}, remaining {meter.gas_remaining}")
    meter.gas_remaining -= gas


def extend_memory(computation: Any, start: int, size: int) -> None:
    """Extend the memory to the end of these bytes, and charge for it."""
    if not size:
        return
    memory = computation._memory
    before = len(memory._bytes) >> 5
    after = (start + size + 31) >> 5
    if after <= before:
        return
    charge(computation, 3 * (after - before) + (after * after >> 9) - (before * before >> 9))
    more = bytes((after - before) << 5)
    try:
        memory._bytes += more
    except BufferError:  # a reader still holds the old memory
        memory._bytes = bytearray(memory._bytes + more)


def hash_memory(computation: Any, start: int, size: int) -> int:
    """SHA3."""
    if start + size > len(computation._memory._bytes):
        extend_memory(computation, start, size)
    charge(computation, GAS_HASH + GAS_HASH_WORD * ((size + 31) >> 5))
    data = bytes(computation._memory._bytes[start : start + size])
    return _short_hash(data) if size <= 2 * 32 else int.from_bytes(keccak(data), "big")


@lru_cache(maxsize=10_000)
def _short_hash(data: bytes) -> int:
    """Cached hash of at most two words, such as the slot of a mapping's value."""
    return int.from_bytes(keccak(data), "big")


def copy_call_data(computation: Any, target: int, source: int, size: int) -> None:
    """CALLDATACOPY."""
    if target + size > len(computation._memory._bytes):
        extend_memory(computation, target, size)
    charge(computation, GAS_VERY_LOW + GAS_COPY_WORD * ((size + 31) >> 5))
    if size:
        data = bytes(computation.msg.data[source : source + size])
        computation._memory._bytes[target : target + size] = data.ljust(size, b"\0")


def copy_memory(computation: Any, target: int, source: int, size: int) -> None:
    """MCOPY."""
    last = target if target > source else source
    if last + size > len(computation._memory._bytes):
        extend_memory(computation, last, size)
    meter, gas = computation._gas_meter, GAS_VERY_LOW + GAS_COPY_WORD * ((size + 31) >> 5)
    if meter.gas_remaining < gas:
        raise OutOfGas(f"needed {gas}, remaining {meter.gas_remaining}")
    meter.gas_remaining -= gas
    if size:
        memory = computation._memory._bytes
        memory[target : target + size] = memory[source : source + size]


def load(computation: Any, slot: int) -> int:
    """SLOAD."""
    state, address = computation.state, computation.msg.storage_address
    if state.is_storage_warm(address, slot):
        charge(computation, GAS_WARM)
    else:
        state.mark_storage_warm(address, slot)
        charge(computation, GAS_COLD_SLOT)
    value: int = state.get_storage(address, slot)
    return value


def store(computation: Any, slot: int, value: int) -> None:
    """SSTORE."""
    _ensure_writable(computation)
    meter, state, address = computation._gas_meter, computation.state, computation.msg.storage_address
    if meter.gas_remaining <= STORE_SENTRY:
        raise OutOfGas(f"needed more than {STORE_SENTRY}, remaining {meter.gas_remaining}")
    computation.note_need(STORE_SENTRY + 1)
    current = state.get_storage(address, slot)
    original = state.get_storage(address, slot, from_journal=False)
    gas, refund = GAS_WARM, 0
    if current != value:
        if original == current:
            gas = GAS_RESET_SLOT if original else GAS_SET_SLOT
        elif original == value:
            refund = (GAS_RESET_SLOT if original else GAS_SET_SLOT) - GAS_WARM
        if original:
            refund += REFUND_CLEARED_SLOT * ((not value) - (not current))
    charge(computation, gas)
    meter.gas_refunded += refund
    state.set_storage(address, slot, value)
    if not state.is_storage_warm(address, slot):
        state.mark_storage_warm(address, slot)
        charge(computation, GAS_COLD_SLOT)


def load_transient(computation: Any, slot: int) -> int:
    """TLOAD."""
    charge(computation, GAS_WARM)
    return int.from_bytes(computation.state.get_transient_storage(computation.msg.storage_address, slot), "big")


def store_transient(computation: Any, slot: int, value: int) -> None:
    """TSTORE."""
    charge(computation, GAS_WARM)
    _ensure_writable(computation)
    computation.state.set_transient_storage(computation.msg.storage_address, slot, value.to_bytes(32, "big"))


def log(computation: Any, start: int, size: int, *topics: int) -> None:
    """LOG0 to LOG4."""
    charge(computation, GAS_LOG)
    _ensure_writable(computation)
    charge(computation, GAS_LOG_BYTE * size + GAS_LOG * len(topics))
    extend_memory(computation, start, size)
    data = bytes(computation._memory._bytes[start : start + size]) if size else b""
    place = computation.transaction_context.get_next_log_counter()
    computation._log_entries.append((place, computation.msg.storage_address, topics, data))


def _ensure_writable(computation: Any) -> None:
    if computation.msg.is_static:
        raise WriteProtection("Cannot modify state while inside of a STATICCALL context")


def copy_code(computation: Any, target: int, source: int, size: int) -> None:
    """CODECOPY."""
    extend_memory(computation, target, size)
    charge(computation, GAS_VERY_LOW + GAS_COPY_WORD * ((size + 31) >> 5))
    if size:
        data = computation.code._raw_code_bytes[source : source + size]
        computation._memory._bytes[target : target + size] = data.ljust(size, b"\0")


def copy_return_data(computation: Any, target: int, source: int, size: int) -> None:
    """RETURNDATACOPY."""
    data = computation.return_data
    if source + size > len(data):
        charge(computation, GAS_VERY_LOW)
        raise OutOfBoundsRead(f"wanted return data to {source + size}, there is to {len(data)}")
    extend_memory(computation, target, size)
    charge(computation, GAS_VERY_LOW + GAS_COPY_WORD * ((size + 31) >> 5))
    if size:
        computation._memory._bytes[target : target + size] = data[source : source + size]


def store_byte(computation: Any, start: int, value: int) -> None:
    """MSTORE8."""
    charge(computation, GAS_VERY_LOW)
    extend_memory(computation, start, 1)
    computation._memory._bytes[start] = value & 0xFF


# Instructions that charge their own gas: number of operands, whether they push a word, and their function.
OWN_GAS: dict[int, tuple[int, bool, Callable[..., Any]]] = {
    op.SHA3: (2, True, hash_memory),
    op.CALLDATACOPY: (3, False, copy_call_data),
    op.MCOPY: (3, False, copy_memory),
    op.SLOAD: (1, True, load),
    op.SSTORE: (2, False, store),
    op.TLOAD: (1, True, load_transient),
    op.TSTORE: (2, False, store_transient),
    op.CODECOPY: (3, False, copy_code),
    op.RETURNDATACOPY: (3, False, copy_return_data),
    op.MSTORE8: (2, False, store_byte),
    **{op.LOG0 + topics: (2 + topics, False, log) for topics in range(MOST_TOPICS + 1)},
}
