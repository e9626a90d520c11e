# SPDX-License-Identifier: Apache-2.0
"""The figures as tables: what `make gas` prints and what docs/gas.md shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.gas.batches import MOMENTS, ONE_SIZES, key
from benchmarks.gas.causes import PATHS, causes_table
from benchmarks.gas.facts import calldata_table, dear_table
from benchmarks.gas.floor import floor_rows
from benchmarks.gas.growth import SIZES
from benchmarks.gas.operations import BUDGETS, WITH_LATER_ACCOUNTS
from benchmarks.gas.savings import explained
from benchmarks.gas.tables import table
from benchmarks.gas.views import CALL_LIMIT

DOCS: Final = Path(__file__).parents[2] / "docs" / "gas.md"
BLOCK: Final = re.compile(r"(<!-- figures: ([a-z ]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

Figures = Mapping[str, int]


def operations_table(figures: Figures) -> str:
    rows = []
    for row in BUDGETS:
        ours = figures[row.operation]
        ratio = None if row.live is None else ours / row.live
        rows.append((row.operation, ours, row.live, ratio, row.budget, row.limit))
    return table(("operation", "ours", "live", "ours / live", "budget", "a client's limit"), rows)


def later_table(figures: Figures) -> str:
    budgets = {row.operation: row for row in BUDGETS}
    rows = [
        (name, figures[name], figures[f"{name}, others having come later"], budgets[name].live, budgets[name].budget)
        for name in WITH_LATER_ACCOUNTS
    ]
    return table(("operation", "nobody came later", "others came later", "live", "budget"), rows)


def batches_table(figures: Figures) -> str:
    rows = []
    for size in ONE_SIZES:
        row: list[int | None] = [size]
        for function in ("settleFeesWithTEE", "settleBatchWithTEE"):
            row += [figures.get(key(function, size, moment)) for moment in MOMENTS]
        rows.append(row)
    head = ("users", "a signature each, first", "later", "one signature, first", "later")
    return table(head, rows)


def growth_tables(figures: Figures) -> str:
    """A table for each growing list, with a column for each size."""
    tables = []
    for what, sizes in SIZES.items():
        rows: dict[str, list[int]] = {}
        for name, gas in figures.items():
            flat = name.removesuffix(f", whatever the number of {what}")
            start, _, size = name.rpartition(f", {what}: ")
            if flat != name:
                rows[flat] = [gas] * len(sizes)
            elif size.isdigit():
                rows.setdefault(start, []).append(gas)
        head = (what, *(f"{size}" for size in sizes))
        tables.append(table(head, [(operation, *gas) for operation, gas in rows.items()]))
    return "\n".join(tables)


def own_growth_table(figures: Figures) -> str:
    """The operations whose gas grows with the caller's own data."""
    grown: dict[str, list[tuple[int, int]]] = {}
    for name, gas in figures.items():
        start, _, size = name.rpartition(": ")
        if size.isdigit():
            grown.setdefault(start, []).append((int(size), gas))
    rows = [(start, ", ".join(f"{size}: {gas:,}" for size, gas in sizes)) for start, sizes in grown.items()]
    return table(("operation, and what grows", "gas"), rows)


def flat_table(figures: Figures) -> str:
    """How many operations cost the same whatever the size of each list."""
    flat: dict[str, list[str]] = {}
    for name in figures:
        operation, found, what = name.partition(", whatever the number of ")
        if found:
            flat.setdefault(what, []).append(operation)
    return table(("what grows", "operations that cost the same"), [(what, len(names)) for what, names in flat.items()])


def floors_table(figures: Figures) -> str:
    return "\n".join(
        table((f"{path}, one settlement of a batch of 50", "gas"), floor_rows(path, figures)) for path in PATHS
    )


def blocks(figures: Mapping[str, Figures]) -> dict[str, str]:
    """The tables of the documentation by name."""
    return {
        "code": table(("what", "bytes"), list(figures["code"].items())),
        "operations": operations_table(figures["operations"]),
        "later": later_table(figures["operations"]),
        "batches": batches_table(figures["batches"]),
        "flat": flat_table(figures["growth"]),
        "own": own_growth_table(figures["growth"]),
        "floors": floors_table(figures["causes"]),
        "each": causes_table(figures["causes"], "settleFeesWithTEE"),
        "batch": causes_table(figures["causes"], "settleBatchWithTEE"),
        "views": table((f"call, of at most {CALL_LIMIT:,}", "gas"), list(figures["views"].items())),
        "calldata": calldata_table(figures["operations"], figures["facts"]),
        "dear": dear_table(figures["operations"], figures["facts"]),
        "largest": explained(figures),
        "savings": table(("measured", "gas"), list(figures["savings"].items())),
    }


def documented(text: str, figures: Mapping[str, Figures]) -> str:
    """The documentation with its tables regenerated. Raises KeyError for a table that does not exist."""
    made = blocks(figures)
    return BLOCK.sub(lambda block: f"{block[1]}\n{made[block[2]]}\n{block[4]}", text)


def printed(figures: Mapping[str, Figures]) -> str:
    made = blocks(figures)
    titles = {
        "operations": "Operations, in a network that has other users, providers and accounts",
        "later": "Leaving, when others have opened accounts with the same providers since",
        "batches": "Gas per user, by the size of the batch; first and later settlement of the accounts",
        "code": "Deployed code",
        "views": "Listings at their worst",
    }
    parts = [f"{title}\n\n{made[name]}" for name, title in titles.items()]
    return "\n".join([*parts, f"Growth, and what of it is the caller's own\n\n{growth_tables(figures['growth'])}"])
