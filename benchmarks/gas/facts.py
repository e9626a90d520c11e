# SPDX-License-Identifier: Apache-2.0
"""Two facts about the operations: how far Prague's floor for calldata is, and what the dearest ones must cost anyway.

    python -m benchmarks.gas.facts

Since Prague, a transaction costs at least 21,000 gas and 10 for each token of its calldata, where a zero byte is one
token and any other byte four (EIP-7623). The measurements follow Cancun's rules, without it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from benchmarks.gas.causes import CALLS, TRANSACTION, Watch, calldata_gas
from benchmarks.gas.network import Network
from benchmarks.gas.operations import BUDGETS, OPERATIONS, Prepare
from benchmarks.gas.tables import table

FLOOR_OF_A_TOKEN: Final = 10
CLOSEST: Final = 6
CUSTOMERS: Final = 200
DEAR: Final = tuple(row for row in BUDGETS if row.live is not None and 2 * row.budget > row.live)
"""The operations that may cost more than half of what they cost on the live network."""
PARTS: Final = ("transaction and calldata", "storage", "calls", "events", "code and compute")

Figures = Mapping[str, int]


def calldata_floor(data: bytes) -> int:
    """The least that a transaction with this calldata costs since Prague."""
    return TRANSACTION + FLOOR_OF_A_TOKEN * (calldata_gas(data) // 4)


class _Parts(Watch):
    """Adds up gas by part."""

    def _cause(self, mnemonic: str, computation: Any) -> str:  # noqa: ARG002 - the instruction decides
        if mnemonic in ("SLOAD", "SSTORE"):
            return "storage"
        if mnemonic in CALLS:
            return "calls"
        return "events" if mnemonic.startswith("LOG") else "code and compute"


def measure_facts(net: Network) -> dict[str, int]:
    """The floor of each operation's calldata, and the parts of the dear ones; at least 200 customers."""
    figures = {}
    for operation, prepare in OPERATIONS.items():
        with net.undone():
            figures[f"{operation}, floor of its calldata"] = calldata_floor(prepare(net).data)
    for row in DEAR:
        for part, gas in _parts(net, OPERATIONS[row.operation]).items():
            figures[f"{row.operation}, {part}"] = gas
    return figures


def _parts(net: Network, prepare: Prepare) -> dict[str, int]:
    """The gas of a transaction by part, before refunds."""
    with net.undone():
        step = prepare(net)
        watch = _Parts(net)
        with net.evm.interpreted_by(watch.computation()):
            done = step.send()
    gas: Counter[str] = watch.gas
    gas[PARTS[0]] = TRANSACTION + calldata_gas(step.data)
    gas["code and compute"] += done.gas_before_refunds - sum(gas.values())
    return {part: gas[part] for part in PARTS}


def calldata_table(operations: Figures, facts: Figures) -> str:
    """The operations whose calldata comes closest to costing more than what they do, and the batches."""
    floors = {name: facts[f"{name}, floor of its calldata"] for name in OPERATIONS}
    names = sorted(floors, key=lambda name: operations[name] / floors[name])
    batches = [name for name in names[CLOSEST:] if name.startswith("settleBatchWithTEE")]
    return table(
        ("operation", "gas", "floor of its calldata", "gas / floor"),
        [
            (name, operations[name], floors[name], operations[name] / floors[name])
            for name in [*names[:CLOSEST], *batches]
        ],
    )


def dear_table(operations: Figures, facts: Figures) -> str:
    """The operations that cost more than half of what they cost on the live network, and what it is spent on."""
    shares = {row.operation: operations[row.operation] / row.live for row in DEAR if row.live is not None}
    rows = []
    for operation in sorted((name for name, share in shares.items() if share > 0.5), key=shares.__getitem__):
        parts = [facts[f"{operation}, {part}"] for part in PARTS]
        ours = operations[operation]
        rows.append((operation, shares[operation], *parts, ours - sum(parts), ours))
    return table(("operation", "ours / live", *PARTS, "refund", "ours"), rows)


def main() -> None:
    net = Network(CUSTOMERS)
    operations = {}
    for operation, prepare in OPERATIONS.items():
        with net.undone():
            operations[operation] = prepare(net).send().gas_used
    facts = measure_facts(net)
    sys.stdout.write(f"{calldata_table(operations, facts)}\n{dear_table(operations, facts)}")


if __name__ == "__main__":
    main()
