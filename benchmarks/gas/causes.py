# SPDX-License-Identifier: Apache-2.0
"""Where the gas of a settlement goes, cause by cause.

    python -m benchmarks.gas.causes

Every instruction of a batch of 50 and of a batch of 1 is watched. What 49 settlements add, divided by 49, is the price
of one; what is left of the batch of 1 is paid once a batch.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from eth_utils.abi import event_abi_to_log_topic

from benchmarks.gas.network import Network, Step
from benchmarks.gas.operations import Prepare, settle_many, settle_with_one_signature
from benchmarks.gas.tables import table
from serving_network.contracts import load
from serving_network.localchain.interpreter import MNEMONICS, Computation

BATCH: Final = 50
PATHS: Final[dict[str, Callable[[int], Prepare]]] = {
    "settleFeesWithTEE": lambda size: partial(settle_many, size, 1),
    "settleBatchWithTEE": lambda size: partial(settle_with_one_signature, size),
}
TRANSACTION: Final = 21_000
CALLS: Final = ("CALL", "STATICCALL", "DELEGATECALL")
MEMORY: Final = ("MLOAD", "MSTORE", "MSTORE8", "MCOPY", "CALLDATACOPY", "CODECOPY", "RETURNDATACOPY")
JUMPS: Final = ("JUMP", "JUMPI", "JUMPDEST")
ECRECOVER: Final = 1
# The slots of an array are at most this far after the hash at which the array starts.
ARRAY: Final = 32


def calldata_gas(data: bytes) -> int:
    zeros = data.count(0)
    return 4 * zeros + 16 * (len(data) - zeros)


class Watch:
    """Adds up the gas of instructions by cause, as they run."""

    def __init__(self, net: Network) -> None:
        self.gas: Counter[str] = Counter()
        self._front = bytes.fromhex(net.inference.address[2:])
        artifact = load("InferenceServing")
        self._variables = dict(_variables(artifact.storage_layout["storage_layout"]))
        self._events = {
            event_abi_to_log_topic(entry): entry["name"]  # type: ignore[arg-type]
            for entry in artifact.abi
            if entry["type"] == "event"
        }
        self._hashed: dict[int, bytes] = {}
        self._inner: list[int] = []

    def computation(self) -> type[Computation]:
        """An interpreter that reports each instruction to this watch."""
        watched = {
            number: self._watched(MNEMONICS[number], instruction) for number, instruction in Computation.opcodes.items()
        }
        return type("Watched", (Computation,), {"opcodes": watched})

    def _watched(self, mnemonic: str, instruction: Any) -> Callable[[Any], None]:
        def run(computation: Any) -> None:
            cause = self._cause(mnemonic, computation)
            hashed = _hash_input(computation) if mnemonic == "SHA3" else None
            before = computation._gas_meter.gas_remaining
            self._inner.append(0)
            try:
                instruction(computation)
            finally:
                spent = before - computation._gas_meter.gas_remaining
                self.gas[cause] += spent - self._inner.pop()
                if self._inner:
                    self._inner[-1] += spent
            if hashed is not None:
                self._hashed[_number(computation._stack.values[-1])] = hashed

        return run

    def _cause(self, mnemonic: str, computation: Any) -> str:
        stack = computation._stack.values
        in_front = computation.msg.code_address == self._front
        if mnemonic in ("SLOAD", "SSTORE"):
            name = "the front's implementation" if in_front else self._variable(_number(stack[-1]))
            return f"storage: {name}, {'read' if mnemonic == 'SLOAD' else 'written'}"
        if mnemonic in ("TLOAD", "TSTORE"):
            return "transient storage: the payout lock"
        if mnemonic.startswith("LOG"):
            return f"event {self._events[_number(stack[-3]).to_bytes(32, 'big')]}"
        if mnemonic == "SHA3":
            return "hashing"
        if mnemonic in CALLS:
            return self._call(mnemonic, stack, in_front)
        where = "front" if in_front else "compute"
        if in_front:
            return "the front itself"
        if mnemonic in MEMORY:
            return f"{where}: memory, its growth included"
        if mnemonic == "CALLDATALOAD":
            return f"{where}: reading calldata"
        if mnemonic in JUMPS:
            return f"{where}: jumps"
        return f"{where}: stack and arithmetic"

    def _call(self, mnemonic: str, stack: list[Any], in_front: bool) -> str:
        if in_front:
            return "call: front to implementation"
        if _number(stack[-2]) == ECRECOVER:
            return "signature recovery"
        if mnemonic == "CALL" and _number(stack[-3]) != 0:
            return "call: payment to the provider"
        return "call: hashing of the rows"

    def _variable(self, slot: int) -> str:
        for start in (slot - offset for offset in range(ARRAY)):
            if start in self._variables:
                return self._variables[start]
            if start in self._hashed:
                return self._variable(int.from_bytes(self._hashed[start][:32], "big"))
        return "unnamed slot"


def _variables(layout: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[int, str]]:
    for name, entry in layout.items():
        if "slot" in entry:
            yield entry["slot"], prefix + name
        else:
            yield from _variables(entry, f"{name}.")


def _hash_input(computation: Any) -> bytes:
    start, size = (_number(item) for item in computation._stack.values[-1:-3:-1])
    return bytes(computation._memory._bytes[start : start + size])


def _number(item: Any) -> int:
    return item if isinstance(item, int) else int.from_bytes(item, "big")


def trace(net: Network, prepare: Prepare) -> tuple[Counter[str], Step]:
    """The gas of a transaction by cause, all of it, and the transaction."""
    with net.undone():
        step = prepare(net)
        watch = Watch(net)
        with net.evm.interpreted_by(watch.computation()):
            done = step.send()
    watch.gas["transaction"] = TRANSACTION
    watch.gas["calldata"] = calldata_gas(step.data)
    told = sum(watch.gas.values())
    if told != done.gas_before_refunds:
        raise AssertionError(f"the causes add up to {told} gas, the transaction used {done.gas_before_refunds}")
    return watch.gas, step


def measure_causes(net: Network) -> dict[str, int]:
    """For each path and cause the gas of one settlement and of what is paid once a batch; at least 50 customers."""
    figures = {}
    for path, prepare in PATHS.items():
        many, _ = trace(net, prepare(BATCH))
        one, _ = trace(net, prepare(1))
        for cause in sorted(many | one):
            each = round((many[cause] - one[cause]) / (BATCH - 1))
            figures[f"{path}, {cause}, for each settlement"] = each
            figures[f"{path}, {cause}, once a batch"] = one[cause] - each
    return figures


def causes_table(figures: Mapping[str, int], path: str) -> str:
    """Most expensive first."""
    rows = []
    for key, each in figures.items():
        start, end = f"{path}, ", ", for each settlement"
        if key.startswith(start) and key.endswith(end):
            cause = key.removeprefix(start).removesuffix(end)
            rows.append((cause, each, figures[f"{path}, {cause}, once a batch"]))
    rows.sort(key=lambda row: (-row[1], -row[2], row[0]))
    total = ("together", sum(row[1] for row in rows), sum(row[2] for row in rows))
    return table(("cause", "for each settlement", "once a batch"), [*rows, total])


def main() -> None:
    figures = measure_causes(Network(BATCH))
    for path in PATHS:
        sys.stdout.write(f"{path}, a batch of {BATCH} distinct users\n\n{causes_table(figures, path)}\n")


if __name__ == "__main__":
    main()
