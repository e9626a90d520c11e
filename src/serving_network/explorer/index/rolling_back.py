# SPDX-License-Identifier: Apache-2.0
"""Undo everything that the index read above a block, as if it had never been read."""

from __future__ import annotations

from typing import Final

from serving_network.explorer.index.positions import end_of
from serving_network.explorer.index.schema import APPENDED, VERSIONED
from serving_network.explorer.index.sums import compute_days, compute_totals
from serving_network.store.database import Database

_CONTRACT_COLUMN: Final = {
    "event": "contract", "settlement": "service", "batch": "service", "oddity": "contract", "held": "service",
    "account": "service", "stake": "service", "offer": "service", "deliverable": "service", "setting": "contract",
    "daily": "service",
}  # fmt: skip
"""The column with the contract that a row is of."""


def roll_back(db: Database, ledger: str, block: int) -> None:
    """Undo what was read above a block, inside the caller's transaction. The caller sets the new last block."""
    end = end_of(block)
    gone = [(one,) for (one,) in db.execute("SELECT address FROM contract WHERE since >= ?", (end,)).fetchall()]
    first = db.execute("SELECT min(time) FROM block WHERE number > ?", (block,)).fetchone()[0]
    for table in VERSIONED:
        db.execute(f"DELETE FROM {table} WHERE since >= ?", (end,))
        db.execute(f"UPDATE {table} SET until = NULL WHERE until >= ?", (end,))
    for table in APPENDED:
        db.execute(f"DELETE FROM {table} WHERE position >= ?", (end,))
    db.execute("DELETE FROM block WHERE number > ?", (block,))
    db.execute("DELETE FROM seen WHERE number > ?", (block,))
    db.execute("DELETE FROM contract WHERE since >= ?", (end,))
    if gone:
        _forget(db, gone)
    if first is not None:
        compute_days(db, first)
    compute_totals(db, ledger)


def _forget(db: Database, contracts: list[tuple[str]]) -> None:
    """Remove the earlier events of contracts that the chain does not announce any more."""
    for table, column in _CONTRACT_COLUMN.items():
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", contracts)
    db.execute("DELETE FROM tx WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.tx = tx.hash)")
    db.execute("UPDATE tx SET position = (SELECT min(e.position) FROM event e WHERE e.tx = tx.hash)")
    db.execute(
        f"DELETE FROM block WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.position >= number * {end_of(0)}"
        f" AND e.position < (number + 1) * {end_of(0)})"
    )
