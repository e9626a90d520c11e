# SPDX-License-Identifier: Apache-2.0
"""Requests that a gateway served: taken into the queue, and their users' balances when a settlement is booked.

The gateway appends rows to the table `served` and never changes them. A run takes new rows into the queue in their
order, in the same transaction that counts them as taken, so that each is owed exactly once at any moment.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from serving_network.messages.prices import Prices
from serving_network.messages.usage import UsageRow
from serving_network.settlement.journal.readings import Readings
from serving_network.settlement.journal.records import UserState
from serving_network.store.opening import unusable

_ROWS_AT_ONCE: Final = 10_000


class ServedRows(Readings):
    """Adds the rows of a gateway."""

    def take_served(self, prices: Prices) -> int:
        """Take the served requests that are not in the queue yet. Returns how many these are.

        Each row has its own fees; `prices` are those in force now.
        """
        taken = 0
        while rows := self._new_rows():
            with self._transaction():
                recorded = self._record([row for _, row in rows], prices)
                if recorded.new != len(rows):
                    raise unusable(self.path, ValueError("a served request is in the queue already"))
                self._count_taken(rows)
                self.end_reading()
            taken += len(rows)
        return taken

    def has_served(self) -> bool:
        """Whether a gateway has stored requests here."""
        return self._db.execute("SELECT 1 FROM served LIMIT 1").fetchone() is not None

    def _new_rows(self) -> list[tuple[int, UsageRow]]:
        """Rows that are not taken, each with its sequence, in the order of the users' sequences."""
        rows = self._db.execute(
            "SELECT s.sequence, s.number, s.id, s.address, s.time, s.input_tokens, s.output_tokens, s.input_fee,"
            " s.output_fee FROM account a JOIN served s ON s.address = a.address AND s.sequence > a.taken_to"
            " WHERE a.requests > a.taken_to ORDER BY s.address, s.sequence LIMIT ?",
            (_ROWS_AT_ONCE,),
        )
        return [(sequence, _usage_row(*row)) for sequence, *row in rows]

    def _count_taken(self, rows: list[tuple[int, UsageRow]]) -> None:
        amounts: Counter[str] = Counter()
        newest: dict[str, int] = {}
        for sequence, row in rows:
            amounts[row.user] += sum(row.fees or ())
            newest[row.user] = sequence
        self._db.lock_accounts(newest)
        before = self._db.query_many(
            "SELECT taken, address FROM account WHERE address = ?", [(address,) for address in newest]
        )
        self._db.executemany(
            "UPDATE account SET taken = ?, taken_to = ? WHERE address = ?",
            [(str(int(taken) + amounts[address]), newest[address], address) for taken, address in before],
        )

    def _lower_balance(self, user: UserState, paid: int, block: int) -> None:
        """Lower the balance that a gateway goes by, if it was read before the block of the payment.

        It happens in the transaction that takes the requests out of what is unsettled: in between, the same coins
        would be free twice.
        """
        found = self._db.execute(
            "SELECT balance FROM account WHERE address = ? AND block_number BETWEEN 0 AND ?", (user.address, block - 1)
        ).fetchone()
        if found is not None:
            self._db.execute(
                "UPDATE account SET balance = ?, block_number = ? WHERE address = ?",
                (str(max(0, int(found[0]) - paid)), block, user.address),
            )


def _usage_row(
    number: int,
    id_: bytes,
    address: str,
    time: int,
    input_tokens: int,
    output_tokens: int,
    input_fee: str,
    output_fee: str,
) -> UsageRow:
    return UsageRow(
        number,
        id_,
        "0x" + id_.hex(),
        address,
        address,
        time * 1_000_000,
        input_tokens,
        output_tokens,
        (int(input_fee), int(output_fee)),
    )
