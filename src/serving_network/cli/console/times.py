# SPDX-License-Identifier: Apache-2.0
"""Times and spans as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from serving_network.counting import span
from serving_network.errors import InvalidInput
from serving_network.untrusted import printable


def moment(seconds: int) -> str:
    """A time in seconds since 1970 as ISO 8601 in UTC, for programs."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local_time(seconds: int) -> str:
    """A time in seconds since 1970 as date and local time, for people."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def span_up(seconds: int) -> str:
    """As `span`, rounded up to what two units can say."""
    for unit, smaller in ((86400, 3600), (3600, 60)):
        if seconds >= unit:
            seconds = -(-seconds // smaller) * smaller
    return span(seconds)


def until(when: int, now: int) -> str:
    """When something unlocks, seen from `now`; both in seconds since 1970."""
    return "unlocked" if when <= now else f"unlocks in {span(when - now)} ({local_time(when)})"


def parse_span(text: str) -> int:
    """Parse a span such as "1 day", "2 h 30 min" or "90" (seconds). Returns seconds. Raises InvalidInput."""
    cleaned, position, seconds = text.strip().lower(), 0, 0
    while (part := _PART.match(cleaned, position)) and part[2] in _UNITS:
        seconds += int(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not cleaned or position < len(cleaned):
        raise InvalidInput(
            f"{printable(text)!r} is not a span of time.", next_step='Write one like "1 day", "2 h 30 min" or "90 s".'
        )
    return seconds


_UNITS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86400),
}
_PART = re.compile(r"([0-9]{1,12})(?![0-9])\s*([a-z]*)\s*")
