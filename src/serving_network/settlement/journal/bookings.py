# SPDX-License-Identifier: Apache-2.0
"""The results of settlements and transactions, read from the chain: booked, made permanent, or undone.

A settlement is `signed`, then `accepted` by a transaction in a block, then `final` together with that block. After its
batch has ended, it is `dead` if a final acceptance has the same or a higher nonce, or if a settlement with a higher
nonce starts at the same place or earlier in the user's queue; from then on, that higher nonce is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import merge
from typing import Final

from serving_network.settlement.journal.batches import Batches
from serving_network.settlement.journal.records import Acceptance, Batch, Mined, UserState

_ROWS_OF_PAGE: Final = 500


class Bookings(Batches):
    """Adds what the chain did with settlements and transactions."""

    # ------------------------------------------------------------------------------------------ booking

    def add_mined(self, transaction: str, mined: Mined) -> bool:
        """Book that a transaction of a batch was mined. Returns whether this is new."""
        with self._transaction():
            done = self._db.execute(
                "UPDATE sent SET block_number = ?, block_hash = ?, gas_used = ?, gas_cost = ?"
                " WHERE hash = ? AND (block_hash IS NULL OR block_hash <> ?)",
                (
                    mined.block_number, mined.block_hash, mined.gas_used, str(mined.gas_cost),
                    transaction, mined.block_hash,
                ),
            )  # fmt: skip
        return done.rowcount > 0

    def accept(self, batch: Batch, accepted: Mapping[int, Acceptance]) -> Batch:
        """Book acceptances of a batch's settlements, by position, and move the users' cursors.

        The contract accepts each nonce of a user once. A nonce that is already booked, in this batch or another, is
        not booked again: if two batches carry the same settlement, its one acceptance is found for both.
        """
        with self._transaction():
            self._db.lock_accounts(batch.rows[position].user.address for position in accepted)
            for position, acceptance in accepted.items():
                self._accept(batch.id, position, batch.rows[position].user, acceptance)
        return self.batch(batch.id)

    def _accept(self, batch: int, position: int, user: UserState, acceptance: Acceptance) -> None:
        """Book an acceptance, unless the user's acceptance with this nonce is booked already."""
        outcome = acceptance.outcome
        done = self._db.execute(
            "UPDATE settlement SET state = 'accepted', status = ?, paid = ?, block_number = ?, block_hash = ?,"
            " transaction_hash = ? WHERE batch_id = ? AND position = ? AND state IN ('signed', 'dead')"
            " AND NOT EXISTS (SELECT 1 FROM settlement other WHERE other.user_id = settlement.user_id"
            "                 AND other.nonce = settlement.nonce AND other.state IN ('accepted', 'final'))",
            (
                outcome.status, str(outcome.paid), acceptance.block_number, acceptance.block_hash,
                acceptance.transaction, batch, position,
            ),
        )  # fmt: skip
        if done.rowcount and outcome.paid:
            self._book(user, user.paid + outcome.paid)
            self._lower_balance(user, outcome.paid, acceptance.block_number)

    def refuse(self, batch: Batch, statuses: Mapping[int, int]) -> None:
        """Record the statuses with which the last transaction refused settlements of a batch, by position."""
        with self._transaction():
            self._db.executemany(
                "UPDATE settlement SET status = ? WHERE batch_id = ? AND position = ? AND state = 'signed'",
                [(status, batch.id, position) for position, status in statuses.items()],
            )

    # ----------------------------------------------------------------------------------------- finality

    def finalise(self, block_number: int) -> None:
        """Record that blocks up to this number are final: their acceptances are permanent.

        Dead is also what another settlement covers with a higher nonce. Version 1 signed such ones, and a request that
        is voided brings them about. Otherwise the user could be signed for with neither nonce.

        Every run does this, so only live settlements are read, from the index `settlement_live`. SQLite uses that only
        where its condition is repeated, and the plus signs keep it from other indexes.
        """
        with self._transaction():
            self._set_fact("final_block", str(block_number))
            self._db.execute(
                "UPDATE settlement SET state = 'final' WHERE state IN ('signed', 'accepted') AND state = 'accepted'"
                " AND +block_number <= ?",
                (block_number,),
            )
            self._db.execute(
                "UPDATE settlement SET state = 'dead' WHERE state IN ('signed', 'accepted') AND state = 'signed'"
                " AND +batch_id IN (SELECT id FROM batch WHERE state = 'ended')"
                " AND nonce <= (SELECT max(f.nonce) FROM settlement f"
                "               WHERE f.user_id = settlement.user_id AND f.state = 'final')"
            )
            self._db.execute(
                "UPDATE settlement SET state = 'dead' WHERE state IN ('signed', 'accepted') AND state = 'signed'"
                " AND +batch_id IN (SELECT id FROM batch WHERE state = 'ended')"
                " AND EXISTS (SELECT 1 FROM settlement above"
                "             WHERE above.user_id = settlement.user_id AND above.nonce > settlement.nonce"
                "             AND (length(above.paid_before), above.paid_before)"
                "              <= (length(settlement.paid_before), settlement.paid_before))"
            )

    def final_block(self) -> int:
        """The number of the newest final block that the journal has recorded."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'final_block'").fetchone()
        return 0 if found is None else int(found[0])

    def overtaken(self, batch: Batch) -> bool:
        """Whether each settlement of a batch is final or overtaken by a final one with the same or a higher nonce."""
        (open_rows,) = self._db.execute(
            "SELECT count(*) FROM settlement s WHERE s.batch_id = ? AND s.state <> 'final' AND s.nonce >"
            " coalesce((SELECT max(f.nonce) FROM settlement f WHERE f.user_id = s.user_id AND f.state = 'final'), '')",
            (batch.id,),
        ).fetchone()
        return not open_rows

    def see_wallet(self, nonce: int, block_number: int, block_hash: str) -> None:
        """Record the wallet's nonce in a block, until that block is final.

        Only one such sighting is kept at a time. A newer one replaces it after it has become final or was undone.
        """
        with self._transaction():
            self._set_fact("wallet_seen", f"{nonce} {block_number} {block_hash}")

    def wallet_sighting(self) -> tuple[int, int, str] | None:
        """The sighting that is not final yet: the wallet's nonce, and the block's number and hash."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'wallet_seen'").fetchone()
        if found is None:
            return None
        nonce, number, block_hash = found[0].split(" ")
        return int(nonce), int(number), block_hash

    def end_sighting(self, *, final: bool) -> None:
        """Remove the sighting. With `final`, keep its nonce as permanently passed."""
        sighting = self.wallet_sighting()
        with self._transaction():
            self._db.execute("DELETE FROM meta WHERE key = 'wallet_seen'")
            if final and sighting is not None:
                self._set_fact("wallet_passed", f"{sighting[0]} {sighting[1]}")

    def wallet_nonce_passed(self, block_number: int) -> int:
        """A lower bound for the wallet's nonce at this block, from booked transactions and final sightings."""
        (mined,) = self._db.execute("SELECT max(nonce) FROM sent WHERE block_number <= ?", (block_number,)).fetchone()
        seen = self._db.execute("SELECT value FROM meta WHERE key = 'wallet_passed'").fetchone()
        return max(0 if mined is None else mined + 1, 0 if seen is None else int(seen[0].partition(" ")[0]))

    def searched_block(self) -> int | None:
        """The block up to which all settlements on chain are known; None before the first search."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'searched_block'").fetchone()
        return None if found is None else int(found[0])

    def set_searched_block(self, block_number: int) -> None:
        """Record that all settlements of these users up to a final block are known."""
        with self._transaction():
            self._set_fact("searched_block", str(block_number))

    # ---------------------------------------------------------------------------------- reorganisations

    def booked_blocks(self) -> Iterator[tuple[int, str]]:
        """The blocks of all bookings, as number and hash, newest first."""
        seen: tuple[int, str] | None = None
        blocks = map(self._blocks_of, ("settlement", "sent"))
        for found in merge(*blocks, key=lambda block: (-block[0], block[1])):
            if found != seen:
                seen = found
                yield found

    def _blocks_of(self, table: str) -> Iterator[tuple[int, str]]:
        """The blocks in a table, newest first, read page by page: usually only the first ones are needed."""
        number, block_hash = 2**63 - 1, ""
        while page := self._db.execute(
            f"SELECT block_number, block_hash FROM {table} WHERE block_number <= ?"  # noqa: S608 - a table's name
            " AND (block_number < ? OR block_hash > ?) ORDER BY block_number DESC, block_hash LIMIT ?",
            (number, number, block_hash, _ROWS_OF_PAGE),
        ).fetchall():
            yield from page
            number, block_hash = page[-1]

    def last_booked_block(self) -> int:
        """The number of the newest block with a booking; 0 if there is none."""
        return next(self.booked_blocks(), (0, ""))[0]

    def unbook(self, block_number: int, block_hash: str) -> int:
        """Undo all bookings of a block that is not part of the chain. Returns the number of settlements."""
        block = (block_number, block_hash)
        with self._transaction():
            undone = self._db.execute(
                "SELECT user_id, paid FROM settlement WHERE block_number = ? AND block_hash = ?", block
            ).fetchall()
            self._db.execute(
                "UPDATE batch SET state = 'open' WHERE form <> 'adopted' AND id IN"
                " (SELECT batch_id FROM settlement WHERE block_number = ? AND block_hash = ?"
                " UNION SELECT batch_id FROM sent WHERE block_number = ? AND block_hash = ?)",
                block + block,
            )
            self._db.execute(
                "UPDATE settlement SET state = 'signed', status = NULL, paid = NULL, block_number = NULL,"
                " block_hash = NULL, transaction_hash = NULL WHERE block_number = ? AND block_hash = ?",
                block,
            )
            self._db.execute(
                "UPDATE settlement SET status = NULL WHERE state = 'signed' AND batch_id IN"
                " (SELECT batch_id FROM sent WHERE block_number = ? AND block_hash = ?)",
                block,
            )
            self._db.execute(
                "UPDATE sent SET block_number = NULL, block_hash = NULL, gas_used = NULL, gas_cost = NULL"
                " WHERE block_number = ? AND block_hash = ?",
                block,
            )
            # Each by itself: an earlier run may have counted a block as final that this one does not.
            for fact in ("final_block", "searched_block"):
                self._db.execute(
                    "UPDATE meta SET value = ? WHERE key = ? AND CAST(value AS BIGINT) >= ?",
                    (str(block_number - 1), fact, block_number),
                )
            passed = self._db.execute("SELECT value FROM meta WHERE key = 'wallet_passed'").fetchone()
            # Earlier versions did not record the block.
            if passed is not None and int(passed[0].partition(" ")[2] or block_number) >= block_number:
                self._db.execute("DELETE FROM meta WHERE key = 'wallet_passed'")
            self._revive({user for user, _ in undone})
            for user, paid in undone:
                self._rewind(self._by_id[user], int(paid))
        return len(undone)

    def _revive(self, users: set[int]) -> None:
        """Revive dead settlements that final acceptances no longer overtake, and reopen their batches."""
        for user in users:
            revived = self._db.execute(
                "UPDATE settlement SET state = 'signed' WHERE user_id = ? AND state = 'dead' AND nonce >"
                " coalesce((SELECT max(f.nonce) FROM settlement f"
                "         WHERE f.user_id = settlement.user_id AND f.state = 'final'), '') RETURNING batch_id",
                (user,),
            ).fetchall()
            self._db.executemany("UPDATE batch SET state = 'open' WHERE form <> 'adopted' AND id = ?", revived)
