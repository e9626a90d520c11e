# SPDX-License-Identifier: Apache-2.0
"""Numbers of things and spans of time, for people."""

from __future__ import annotations


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and what it counts, in the singular or the plural: "1 row", "2 rows", "2 batches"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def span(seconds: int) -> str:
    """A span of seconds in its two largest units: "1 d 4 h", "12 min 5 s"."""
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
