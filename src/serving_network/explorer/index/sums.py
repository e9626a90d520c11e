# SPDX-License-Identifier: Apache-2.0
"""The sums in the index: of all current versions by contract, and of what was settled by day. Zeros are not stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from serving_network.explorer.index.positions import BLOCK_SQL, BLOCKS_AT_MOST, position_of
from serving_network.explorer.index.versions import ACCOUNT, HELD, LEDGER, OFFER, STAKE, Table
from serving_network.store.database import Database

_DAY: Final = 86_400
_ROWS_AT_ONCE: Final = 2_000
_SUMMED: Final[tuple[Table[Any], ...]] = (LEDGER, HELD, ACCOUNT, STAKE, OFFER)


def add_to_totals(db: Database, changes: Mapping[tuple[str, str], int]) -> None:
    """Add to the sums by contract and name."""
    changed = sorted(key for key, amount in changes.items() if amount)
    stored = {
        (contract, name): int(amount)
        for contract, name, amount in db.query_many("SELECT * FROM total WHERE contract = ? AND name = ?", changed)
    }
    sums = {key: stored.get(key, 0) + changes[key] for key in changed}
    db.executemany("DELETE FROM total WHERE contract = ? AND name = ?", changed)
    db.executemany(
        "INSERT INTO total VALUES (?, ?, ?)", [(*key, str(amount)) for key, amount in sums.items() if amount]
    )


def add_to_days(
    db: Database, settled: Mapping[tuple[int, str, str], int], paid: Mapping[tuple[int, str, str], int]
) -> None:
    """Add to what was settled and paid, by day, service and provider."""
    changed = sorted(settled)
    where = "day = ? AND service = ? AND provider = ?"
    stored = {
        (day, service, provider): (number, int(amount))
        for day, service, provider, number, amount in db.query_many(f"SELECT * FROM daily WHERE {where}", changed)
    }
    rows = []
    for key in changed:
        number, amount = stored.get(key, (0, 0))
        rows.append((*key, number + settled[key], str(amount + paid[key])))
    db.executemany(f"DELETE FROM daily WHERE {where}", changed)
    db.executemany("INSERT INTO daily VALUES (?, ?, ?, ?, ?)", rows)


def compute_totals(db: Database, ledger: str) -> None:
    """Compute all sums by contract again."""
    sums: Counter[tuple[str, str]] = Counter()
    for table in _SUMMED:
        columns = (*table.key, *table.columns)
        size, after = len(table.key), ("",) * len(table.key)
        order = ", ".join(table.key)
        later = f"({order}) > ({', '.join('?' * size)})"
        sql = (
            f"SELECT {', '.join(columns)} FROM {table.name} WHERE until IS NULL AND {later}"
            f" ORDER BY {order} LIMIT {_ROWS_AT_ONCE}"
        )
        while rows := db.execute(sql, after).fetchall():
            for row in rows:
                contract = ledger if table is LEDGER else row[0]
                for name, amount in table.row.read(tuple(row[size:])).sums().items():
                    sums[contract, name] += amount
            after = tuple(rows[-1][:size])
    db.execute("DELETE FROM total")
    db.executemany(
        "INSERT INTO total VALUES (?, ?, ?)", [(*key, str(amount)) for key, amount in sums.items() if amount]
    )


def compute_days(db: Database, first: int) -> None:
    """Compute again what was settled, from the day of the unix time `first` on."""
    day = first // _DAY
    (start,) = db.execute("SELECT min(number) FROM block WHERE time >= ?", (day * _DAY,)).fetchone()
    settled: Counter[tuple[int, str, str]] = Counter()
    paid: Counter[tuple[int, str, str]] = Counter()
    sql = (
        "SELECT s.position, b.time, s.service, s.provider, s.paid FROM settlement s"
        f" JOIN block b ON b.number = s.position {BLOCK_SQL}"
        " WHERE s.position > ? AND s.provider IS NOT NULL AND s.status <= 1"
        f" ORDER BY s.position LIMIT {_ROWS_AT_ONCE}"
    )
    after = position_of(BLOCKS_AT_MOST - 1 if start is None else start, 0) - 1
    while rows := db.execute(sql, (after,)).fetchall():
        for _, time, service, provider, amount in rows:
            key = time // _DAY, service, provider
            settled[key] += 1
            paid[key] += int(amount)
        after = rows[-1][0]
    db.execute("DELETE FROM daily WHERE day >= ?", (day,))
    db.executemany(
        "INSERT INTO daily VALUES (?, ?, ?, ?, ?)",
        [(*key, number, str(paid[key])) for key, number in sorted(settled.items())],
    )
