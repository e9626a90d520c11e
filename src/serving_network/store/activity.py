# SPDX-License-Identifier: Apache-2.0
"""What a gateway served lately, by hour and by user, read while it runs."""

from __future__ import annotations

from typing import Final, NamedTuple

from serving_network.messages.receipts import Ending
from serving_network.store.location import Location
from serving_network.store.opening import connected_for_reading

MOST_ROWS: Final = 50_000
"""How many of the newest requests are looked at: a store may have millions."""
_HOUR: Final = 3_600


class Hour(NamedTuple):
    """What was served in one hour. `start` is in seconds since 1970, `billed` in wei."""

    start: int
    requests: int
    billed: int
    cut: int


class ServedUser(NamedTuple):
    """What one user was served, in wei, and what the balance without requested refunds covers of it."""

    user: str
    requests: int
    billed: int
    unsettled: int
    covered: int


class Activity(NamedTuple):
    """The newest requests by hour, oldest first, and how they ended; and all users."""

    hours: list[Hour]
    endings: dict[Ending, int]
    users: list[ServedUser]
    looked_at: int


def activity(store: Location) -> Activity:
    """What a gateway served lately. Raises JournalFailure."""
    with connected_for_reading(store) as connection:
        newest = connection.execute("SELECT max(number) FROM served").fetchone()[0] or 0
        rows = connection.execute(
            "SELECT time, input_fee, output_fee, ending FROM served WHERE number > ?", (newest - MOST_ROWS,)
        ).fetchall()
        users = connection.execute(
            "SELECT a.address, a.requests, a.billed, a.taken, coalesce(u.owed, '0'), coalesce(u.paid, '0'), a.balance,"
            " a.pending_refund, a.block_number FROM account a LEFT JOIN user u ON u.address = a.address"
            " WHERE a.requests > 0"
        ).fetchall()
    hours: dict[int, list[int]] = {}
    endings: dict[Ending, int] = {}
    for time, input_fee, output_fee, ending in rows:
        hour = hours.setdefault(time // _HOUR, [0, 0, 0])
        hour[0] += 1
        hour[1] += int(input_fee) + int(output_fee)
        hour[2] += ending != Ending.COMPLETE
        endings[Ending(ending)] = endings.get(Ending(ending), 0) + 1
    found = []
    for address, requests, billed, taken, owed, paid, balance, pending, block in users:
        unsettled = max(0, int(billed) - int(taken) + int(owed) - int(paid))
        free = max(0, int(balance) - int(pending)) if block >= 0 else 0
        found.append(ServedUser(address, requests, int(billed), unsettled, min(unsettled, free)))
    by_hour = [Hour(start * _HOUR, *counts) for start, counts in sorted(hours.items())]
    return Activity(by_hour, endings, found, len(rows))
