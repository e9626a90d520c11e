# SPDX-License-Identifier: Apache-2.0
"""Markdown tables that are also readable in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Text on the left, numbers on the right with separators for thousands; None is a dash."""
    rows = list(rows)
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        all(row[column] is None or isinstance(row[column], int | float) for row in rows) for column in range(len(head))
    ]
    widths = [max(len(line[column]) for line in [head, *cells]) for column in range(len(head))]

    def line(values: Sequence[str]) -> str:
        padded = (
            value.rjust(width) if right else value.ljust(width)
            for value, width, right in zip(values, widths, numeric, strict=True)
        )
        return "| " + " | ".join(padded) + " |\n"

    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    return line(head) + line(rule) + "".join(line(row) for row in cells)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
