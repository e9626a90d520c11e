# SPDX-License-Identifier: Apache-2.0
"""Totals of what a gateway served, read while it runs."""

from __future__ import annotations

from typing import NamedTuple

from serving_network.store.location import Location
from serving_network.store.opening import connected_for_reading


class Summary(NamedTuple):
    """What a gateway served; amounts in wei. `begun` counts streams under way, or cut by a crash and not billed yet.

    `uncovered` is what of `unsettled` the balances, without requested refunds, do not cover; `at_risk` are the users
    with such a part, largest first. `settled_at` is when the newest mined settlement was sent, in unix seconds.
    """

    requests: int
    users: int
    billed: int
    unsettled: int
    begun: int
    uncovered: int
    at_risk: list[tuple[str, int]]
    settled: int
    settled_at: int | None


def summarise(path: Location) -> Summary:
    """The totals of a provider's store. Raises JournalFailure if it does not exist or is of another version."""
    with connected_for_reading(path) as connection:
        rows = connection.execute(
            "SELECT a.address, a.requests, a.billed, a.taken, coalesce(u.owed, '0'), coalesce(u.paid, '0'), a.balance,"
            " a.pending_refund, a.block_number FROM account a LEFT JOIN user u ON u.address = a.address"
            " WHERE a.requests > 0"
        ).fetchall()
        (begun,) = connection.execute("SELECT count(*) FROM begun").fetchone()
        (settled_at,) = connection.execute(
            "SELECT max(made) FROM sent WHERE purpose = 'carry' AND block_number IS NOT NULL"
        ).fetchone()
    unsettled: dict[str, int] = {}
    uncovered: dict[str, int] = {}
    for address, _, billed, taken, owed, paid, balance, pending, block in rows:
        unsettled[address] = max(0, int(billed) - int(taken) + int(owed) - int(paid))
        free = max(0, int(balance) - int(pending)) if block >= 0 else 0
        short = unsettled[address] - free
        if short > 0:
            uncovered[address] = short
    return Summary(
        requests=sum(row[1] for row in rows),
        users=len(rows),
        billed=sum(int(row[2]) for row in rows),
        unsettled=sum(unsettled.values()),
        begun=begun,
        uncovered=sum(uncovered.values()),
        at_risk=sorted(uncovered.items(), key=lambda item: -item[1]),
        settled=sum(int(row[5]) for row in rows),
        settled_at=settled_at,
    )


def known_nonces(path: Location) -> dict[str, int]:
    """The highest nonce of each user's settlements that the store knows, signed or settled; 0 if there is none."""
    with connected_for_reading(path) as connection:
        rows = connection.execute(
            "SELECT u.address, max(s.nonce) FROM user u LEFT JOIN settlement s ON s.user_id = u.id GROUP BY u.address"
            " UNION ALL SELECT address, NULL FROM account WHERE requests > 0"
            " AND address NOT IN (SELECT address FROM user)"
        ).fetchall()
    return {address: int(nonce or 0) for address, nonce in rows}
