# SPDX-License-Identifier: Apache-2.0
"""The committed figures, and how the measured ones differ from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.gas.batches import measure_batches
from benchmarks.gas.causes import measure_causes
from benchmarks.gas.facts import measure_facts
from benchmarks.gas.growth import measure_growth
from benchmarks.gas.network import Network
from benchmarks.gas.operations import BUDGETS, measure_all
from benchmarks.gas.savings import measure_savings
from benchmarks.gas.views import full_crowd, measure_views
from serving_network.contracts import load
from tests.unit.contract import Contract

SNAPSHOT: Final = Path(__file__).parents[1] / "gas.json"
CODE_LIMIT: Final = 24_576
CUSTOMERS: Final = 200
UPDATE: Final = (
    "The gas changed. If that is intended, run `make gas-update` and commit benchmarks/gas.json and docs/gas.md."
)

Figures = dict[str, int]


def measure_code(net: Network) -> Figures:
    """Bytes of deployed code, immutable values included, of everything that a deployment creates."""

    def implementation(front: Contract) -> int:
        beacon = Contract(net.evm, str(front.beacon), load("UpgradeableBeacon").interface)
        return len(net.evm.code(beacon.ask("implementation")))

    beacon = net.evm.code(str(net.ledger.beacon))
    sizes = {
        "LedgerManager": implementation(net.ledger),
        "InferenceServing": implementation(net.inference),
        "FineTuningServing": implementation(net.fine_tuning),
        "UpgradeableBeacon": len(beacon),
        "BeaconProxy": len(net.evm.code(net.ledger.address)),
    }
    return {f"code of {name}, bytes of at most {CODE_LIMIT}": size for name, size in sizes.items()}


def measure_growing(_: Network) -> Figures:
    figures: Figures = {}
    for growth in measure_growth():
        figures |= growth.figures()
    return figures


def measure_listings(_: Network) -> Figures:
    return measure_views(full_crowd())


SECTIONS: Final[dict[str, Callable[[Network], Figures]]] = {
    "code": measure_code,
    "operations": measure_all,
    "batches": measure_batches,
    "causes": measure_causes,
    "savings": measure_savings,
    "facts": measure_facts,
    "growth": measure_growing,
    "views": measure_listings,
}


def measure_everything() -> dict[str, Figures]:
    net = Network(CUSTOMERS)
    return {section: measure(net) for section, measure in SECTIONS.items()}


def read() -> dict[str, Figures]:
    """The committed figures by section."""
    stored: dict[str, Figures] = json.loads(SNAPSHOT.read_text())
    return stored


def write(figures: Mapping[str, Figures]) -> None:
    SNAPSHOT.write_text(json.dumps(figures, indent=1) + "\n")


def differences(committed: Figures, measured: Figures) -> list[str]:
    """One line for each figure that differs from the committed one."""
    lines = []
    for key in committed | measured:
        old, new = committed.get(key), measured.get(key)
        if old is None:
            lines.append(f"{key}: {new:,} (new)")
        elif new is None:
            lines.append(f"{key}: {old:,} (no longer measured)")
        elif old != new:
            lines.append(f"{key}: {old:,} -> {new:,} ({new - old:+,})")
    return lines


def over_budget(operations: Figures) -> list[str]:
    """One line for each operation above its budget."""
    return [
        f"{row.operation}: {operations[row.operation]:,} is over the budget of {row.budget:,}"
        for row in BUDGETS
        if operations[row.operation] > row.budget
    ]


def too_large(code: Figures) -> list[str]:
    """One line for each contract that is larger than chains accept."""
    return [f"{key}: {size:,}" for key, size in code.items() if size > CODE_LIMIT]
