# SPDX-License-Identifier: Apache-2.0
"""Numbers of things, for people."""

from __future__ import annotations


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts, in the singular or the plural: "1 row", "2 rows", "2 batches"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
