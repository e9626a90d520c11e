# SPDX-License-Identifier: Apache-2.0
"""Times and spans as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(seconds: int) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC, for programs."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_time(seconds: int) -> str:
    """A time in seconds since 1970 as date and local time, for people."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def span(seconds: int) -> str:
    """A span of seconds in its two largest units: "1 d 4 h", "12 min 5 s"."""
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def until(when: int, now: int) -> str:
    """When something unlocks, seen from `now`; both in seconds since 1970."""
    return "unlocked" if when <= now else f"unlocks in {span(when - now)} ({local_time(when)})"
