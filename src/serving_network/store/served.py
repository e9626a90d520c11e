# SPDX-License-Identifier: Apache-2.0
"""Totals of what a gateway served, read while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from serving_network.store.sqlite import connected_for_reading


class Summary(NamedTuple):
    """What a gateway served; amounts in wei. `begun` counts streams under way, or cut by a crash and not billed yet."""

    requests: int
    users: int
    billed: int
    unsettled: int
    begun: int


def summarise(path: Path) -> Summary:
    """The totals of a provider's store. Raises JournalFailure if it does not exist or is of another version."""
    with connected_for_reading(path) as connection:
        rows = connection.execute(
            "SELECT a.requests, a.billed, a.taken, ifnull(u.owed, '0'), ifnull(u.paid, '0') FROM account a"
            " LEFT JOIN user u ON u.address = a.address WHERE a.requests > 0"
        ).fetchall()
        (begun,) = connection.execute("SELECT count(*) FROM begun").fetchone()
    return Summary(
        requests=sum(row[0] for row in rows),
        users=len(rows),
        billed=sum(int(row[1]) for row in rows),
        unsettled=sum(max(0, int(row[1]) - int(row[2]) + int(row[3]) - int(row[4])) for row in rows),
        begun=begun,
    )
