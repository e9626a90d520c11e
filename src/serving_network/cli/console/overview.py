# SPDX-License-Identifier: Apache-2.0
"""The help of the whole program: every command with one line, grouped by role, on one screen."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMN = 40


def overview(columns: Sequence[Mapping[str, Mapping[str, str]]], width: int) -> str:
    """Commands and their lines by role; side by side where the terminal is wide enough."""
    blocks = [list(_lines(column)) for column in columns]
    if width < COLUMN * len(columns):
        return "\n".join(typer.style(line, bold=is_role) for block in blocks for line, is_role in block)
    rows = zip_longest(*blocks, fillvalue=("", False))
    return "\n".join("".join(_cell(*one) for one in row).rstrip() for row in rows)


def _cell(line: str, is_role: bool) -> str:
    return typer.style(line, bold=True) + " " * (COLUMN - len(line)) if is_role else f"{line:<{COLUMN}}"


def _lines(roles: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, bool]]:
    for number, (role, commands) in enumerate(roles.items()):
        if number:
            yield "", False
        yield role, True
        for name, line in commands.items():
            yield f"  {name:<13}{line}", False
