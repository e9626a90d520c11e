# SPDX-License-Identifier: Apache-2.0
"""Signed settlements, the batches that they are sent in, and the transactions that carry them.

A settlement row becomes a transaction here: `add_batch` writes the signed rows together with the raw transaction,
before `sending` broadcasts it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.journal.records import (
    Batch,
    BatchSummary,
    LiveSettlement,
    SignedRow,
    Transaction,
    UserState,
)
from serving_network.settlement.journal.served import ServedRows
from serving_network.store.schema import padded


class Batches(ServedRows):
    """Adds signed settlements and their transactions to the queues."""

    # ------------------------------------------------------------------------------------------ writing

    def add_batch(
        self,
        form: str,
        signer: str,
        signature: bytes,
        from_block: int,
        rows: Sequence[SignedRow],
        transaction: Transaction,
    ) -> Batch:
        """Write a batch and the transaction that will carry it. Broadcast only after this has returned."""
        with self._transaction():
            number = self._add_batch(form, signer, signature, from_block, rows)
            self._add_transaction(number, transaction)
        return self.batch(number)

    def _add_batch(self, form: str, signer: str, signature: bytes, from_block: int, rows: Sequence[SignedRow]) -> int:
        number: int = self._db.execute(
            "INSERT INTO batch VALUES ((SELECT coalesce(max(id), 0) + 1 FROM batch), ?, ?, ?, ?, 'open') RETURNING id",
            (form, signer, signature, from_block),
        ).fetchone()[0]
        self._db.executemany(
            "INSERT INTO settlement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'signed', NULL, NULL, NULL, NULL, NULL)",
            [
                (
                    number,
                    position,
                    row.user.id,
                    str(row.settlement.total_fee),
                    padded(row.settlement.nonce),
                    row.settlement.requests_hash,
                    row.signature,
                    row.requests,
                    str(row.paid_before),
                    str(row.expected_paid),
                )
                for position, row in enumerate(rows)
            ],
        )
        for row in rows:
            row.user.last_nonce = max(row.user.last_nonce, row.settlement.nonce)
        return number

    def add_transaction(self, batch: Batch, transaction: Transaction) -> Batch:
        """Write another transaction for a batch. Broadcast only after this has returned.

        A transaction that is already in the journal becomes the newest: after a reorganisation, the same nonce, and
        with it exactly the same transaction, may be needed again.
        """
        with self._transaction():
            self._add_transaction(batch.id, transaction)
        return self.batch(batch.id)

    def _add_transaction(self, number: int, sent: Transaction) -> None:
        self._db.execute(
            "INSERT INTO sent VALUES ((SELECT coalesce(max(id), 0) + 1 FROM sent), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
            " NULL, NULL, NULL, NULL)"
            " ON CONFLICT (batch_id, hash) DO UPDATE SET id = (SELECT max(id) + 1 FROM sent)",
            (
                number,
                sent.hash,
                sent.raw,
                sent.nonce,
                sent.gas,
                str(sent.max_fee_per_gas),
                str(sent.max_priority_fee_per_gas),
                sent.legacy,
                sent.purpose,
                int(self._clock()),
            ),
        )

    def end_batch(self, batch: Batch) -> None:
        """Record that none of a batch's transactions can take effect any more."""
        with self._transaction():
            self._db.execute("UPDATE batch SET state = 'ended' WHERE id = ?", (batch.id,))

    # ------------------------------------------------------------------------------------------ batches

    def open_batches(self) -> list[Batch]:
        """Batches of which a transaction may still take effect, oldest first."""
        ids = self._db.execute("SELECT id FROM batch WHERE state = 'open' ORDER BY id").fetchall()
        return [self.batch(number) for (number,) in ids]

    def batch(self, number: int) -> Batch:
        """One batch with its settlements and transactions."""
        form, signer, signature, from_block = self._db.execute(
            "SELECT form, signer, signature, from_block FROM batch WHERE id = ?", (number,)
        ).fetchone()
        rows = tuple(
            SignedRow(
                self._by_id[user],
                UserSettlement(self._by_id[user].address, int(fee), int(nonce), requests_hash),
                row_signature,
                requests,
                int(expected_paid),
                int(paid_before),
                state in ("accepted", "final"),
            )
            for user, fee, nonce, requests_hash, row_signature, requests, expected_paid, paid_before, state in (
                self._db.execute(
                    "SELECT user_id, fee, nonce, requests_hash, signature, requests, expected_paid, paid_before, state"
                    " FROM settlement WHERE batch_id = ? ORDER BY position",
                    (number,),
                )
            )
        )
        transactions = tuple(
            Transaction(hash_, raw, nonce, gas, int(fee), int(tip), bool(legacy), purpose)
            for hash_, raw, nonce, gas, fee, tip, legacy, purpose in self._db.execute(
                "SELECT hash, raw, nonce, gas, max_fee_per_gas, max_priority_fee_per_gas, legacy, purpose FROM sent"
                " WHERE batch_id = ? ORDER BY id",
                (number,),
            )
        )
        return Batch(number, form, signer, signature, from_block, rows, transactions)

    def age(self, batch: Batch) -> float:
        """Seconds since the newest transaction of a batch was created."""
        (made,) = self._db.execute("SELECT max(made) FROM sent WHERE batch_id = ?", (batch.id,)).fetchone()
        return max(0.0, self._clock() - int(made))

    def summaries(self, ended: int) -> list[BatchSummary]:
        """All open batches and the newest `ended` of the others, oldest first."""
        found = self._db.execute(
            "SELECT id, state FROM batch WHERE state = 'open' OR id IN"
            " (SELECT id FROM batch WHERE state <> 'open' ORDER BY id DESC LIMIT ?) ORDER BY id",
            (ended,),
        ).fetchall()
        return [self._summary(self.batch(number), state == "ended") for number, state in found]

    def _summary(self, batch: Batch, ended: bool) -> BatchSummary:
        rows = self._db.execute(
            "SELECT state, status, paid, transaction_hash, block_number FROM settlement WHERE batch_id = ?"
            " ORDER BY position",
            (batch.id,),
        ).fetchall()
        mined = self._db.execute(
            "SELECT hash, block_number FROM sent WHERE batch_id = ? AND block_number IS NOT NULL", (batch.id,)
        ).fetchall()
        return BatchSummary(
            batch,
            ended,
            tuple(str(row[0]) for row in rows),
            tuple(row[1] for row in rows),
            tuple(None if row[2] is None else int(row[2]) for row in rows),
            tuple(row[3] for row in rows),
            tuple(row[4] for row in rows),
            dict(mined),
        )

    # ------------------------------------------------------------------------------------- one user's settlements

    def live(self, user: UserState) -> list[LiveSettlement]:
        """The user's settlements that may still be accepted or undone, sorted by nonce."""
        return [
            LiveSettlement(
                int(nonce),
                int(fee),
                int(paid_before),
                state == "accepted",
                state == "accepted" and requests > 0 and int(paid) == int(fee),
            )
            for nonce, fee, paid_before, state, paid, requests in self._db.execute(
                "SELECT nonce, fee, paid_before, state, paid, requests FROM settlement"
                " WHERE user_id = ? AND state IN ('signed', 'accepted') ORDER BY nonce, batch_id",
                (user.id,),
            )
        ]

    def accepted_nonce(self, user: UserState) -> int:
        """The highest nonce of the user whose acceptance is booked; 0 if there is none."""
        (nonce,) = self._db.execute(
            "SELECT nonce FROM settlement WHERE user_id = ? AND state IN ('accepted', 'final')"
            " ORDER BY nonce DESC LIMIT 1",
            (user.id,),
        ).fetchone() or (0,)
        return int(nonce)

    def last_acceptance(self, user: UserState) -> tuple[int, str] | None:
        """The block number and transaction hash of the acceptance of the user's newest settlement.

        The hash is empty if the transaction of an adopted settlement is not known.
        """
        found = self._db.execute(
            "SELECT block_number, transaction_hash FROM settlement WHERE user_id = ? AND state IN ('accepted', 'final')"
            " ORDER BY nonce DESC LIMIT 1",
            (user.id,),
        ).fetchone()
        return None if found is None else (int(found[0]), found[1] or "")

    def signed_as(self, user: UserState, settlement: UserSettlement, transaction: str) -> tuple[Batch, int] | None:
        """The batch in which this journal signed exactly this settlement, and its position there.

        If several batches contain it, the one that the transaction carried, else the newest.
        """
        found = self._db.execute(
            "SELECT s.batch_id, s.position FROM settlement s JOIN batch b ON b.id = s.batch_id WHERE s.user_id = ?"
            " AND s.nonce = ? AND s.fee = ? AND s.requests_hash = ? AND b.form <> 'adopted' ORDER BY"
            " (SELECT count(*) FROM sent t WHERE t.batch_id = s.batch_id AND t.hash = ?) DESC, s.batch_id DESC LIMIT 1",
            (user.id, padded(settlement.nonce), str(settlement.total_fee), settlement.requests_hash, transaction),
        ).fetchone()
        return None if found is None else (self.batch(found[0]), found[1])

    def accepted(self, user: UserState, nonce: int) -> bool:
        """Whether the acceptance of a settlement of the user with this nonce is booked."""
        found = self._db.execute(
            "SELECT 1 FROM settlement WHERE user_id = ? AND nonce = ? AND state IN ('accepted', 'final')",
            (user.id, padded(nonce)),
        )
        return found.fetchone() is not None

    def awaits(self, user: UserState, nonce: int) -> bool:
        """Whether an open batch has a settlement of the user with this nonce that no transaction accepted yet."""
        found = self._db.execute(
            "SELECT 1 FROM settlement s JOIN batch b ON b.id = s.batch_id"
            " WHERE s.user_id = ? AND s.nonce = ? AND s.state = 'signed' AND b.state = 'open'",
            (user.id, padded(nonce)),
        )
        return found.fetchone() is not None

    def accepted_by(self, user: UserState, transaction: str) -> bool:
        """Whether an acceptance by this transaction is booked for the user."""
        found = self._db.execute(
            "SELECT 1 FROM settlement WHERE user_id = ? AND transaction_hash = ?", (user.id, transaction)
        )
        return found.fetchone() is not None

    # ------------------------------------------------------------------------------- the wallet's transactions

    def sent_hashes(self, block_number: int) -> set[str]:
        """The hashes of this journal's transactions that are not booked in a block up to this one."""
        return {
            sent_hash
            for (sent_hash,) in self._db.execute(
                "SELECT hash FROM sent WHERE block_number IS NULL OR block_number > ?", (block_number,)
            )
        }

    def mined_nonces(self, first: int) -> set[int]:
        """The wallet's nonces from `first` on that mined transactions of this journal used."""
        return {
            nonce
            for (nonce,) in self._db.execute(
                "SELECT nonce FROM sent WHERE nonce >= ? AND block_number IS NOT NULL", (first,)
            )
        }

    def sent_nonces(self, first: int) -> set[int]:
        """The wallet's nonces from `first` on that transactions of open batches use."""
        return {
            nonce
            for (nonce,) in self._db.execute(
                "SELECT s.nonce FROM sent s JOIN batch b ON b.id = s.batch_id WHERE b.state = 'open' AND s.nonce >= ?",
                (first,),
            )
        }

    def free_nonce(self, first: int, released: Collection[int] = ()) -> int:
        """The wallet's lowest nonce from `first` on that is not used by a batch with undecided settlements.

        The batches in `released` do not count: new settlements may be signed for their users.
        """
        taken = {
            nonce
            for nonce, batch in self._db.execute(
                "SELECT s.nonce, b.id FROM sent s JOIN batch b ON b.id = s.batch_id WHERE b.state = 'open'"
                " AND s.nonce >= ?"
                " AND EXISTS (SELECT 1 FROM settlement r WHERE r.batch_id = b.id AND r.state = 'signed')",
                (first,),
            )
            if batch not in released
        }
        while first in taken:
            first += 1
        return first
