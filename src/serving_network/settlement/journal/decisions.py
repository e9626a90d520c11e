# SPDX-License-Identifier: Apache-2.0
"""What a person decides: to adopt a settlement that another program sent, or to void a request."""

from __future__ import annotations

from typing import Final

from serving_network.errors import InvalidInput
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.journal.bookings import Bookings
from serving_network.settlement.journal.records import Acceptance, Request, SignedRow, UserState, Void
from serving_network.store.schema import hash_key

LEAVE_OUT: Final = "A request that no run has read is not charged if you take its row out of the log."


class CannotVoid(InvalidInput):
    """A request cannot be voided: it is unknown, paid, already void, or in a settlement that may still take effect."""


class Decisions(Bookings):
    """Adds adopted settlements and void requests."""

    def adopt(self, user: UserState, settlement: UserSettlement, requests: int, acceptance: Acceptance) -> None:
        """Book a settlement that another program or journal sent and the chain accepted.

        `requests` is the number of recorded requests that it covers, 0 if that is not known.
        """
        with self._transaction():
            row = SignedRow(user, settlement, b"", requests, acceptance.outcome.paid, user.paid)
            number = self._add_batch("adopted", "", b"", acceptance.block_number, [row])
            self._db.execute("UPDATE batch SET state = 'ended' WHERE id = ?", (number,))
            self._accept(number, 0, user, acceptance)

    def void(self, request_hash: bytes, reason: str, now: int) -> Void:
        """Void a request: it is never charged, and stays in the journal with the reason.

        Raises CannotVoid if it is unknown, already void, paid or partly paid, or in a settlement that may still take
        effect.
        """
        address, number, start, fee = self.voidable(request_hash)
        user = self._users[address]
        with self._transaction():
            self._db.execute("INSERT INTO void VALUES (?, ?, ?, ?, ?)", (user.id, number, str(fee), now, reason))
            input_tokens, output_tokens = self._db.execute(
                "SELECT input_tokens, output_tokens FROM request WHERE user_id = ? AND number = ?", (user.id, number)
            ).fetchone()
            user.owed -= fee
            user.input_tokens -= input_tokens
            user.output_tokens -= output_tokens
            self._db.execute(
                "UPDATE user SET owed = ?, input_tokens = ?, output_tokens = ? WHERE id = ?",
                (str(user.owed), user.input_tokens, user.output_tokens, user.id),
            )
            self._shift(user, start, fee)
            self._book(user, user.paid)
        return Void(user.address, number, request_hash, fee, now, reason)

    def voidable(self, request_hash: bytes) -> Request:
        """A request that may be voided. Raises CannotVoid like `void`."""
        name = "0x" + request_hash.hex()
        found = self._db.execute(
            "SELECT user_id, number FROM known WHERE hash = ?", (hash_key(self._secret)(request_hash),)
        ).fetchone()
        if found is None:
            raise CannotVoid(
                f"Request {name} is not recorded.",
                next_step=f"Give the id exactly as in the log. {LEAVE_OUT}",
            )
        user, number = self._by_id[found[0]], found[1]
        fee, start = self._place(user, number, name)
        self._check_free(user, start, fee, name)
        return Request(user.address, number, start, fee)

    def _place(self, user: UserState, number: int, name: str) -> tuple[int, int]:
        """The fee of a request that is neither void nor paid, and the wei of the queue that precede it."""
        if self._db.execute("SELECT 1 FROM void WHERE user_id = ? AND number = ?", (user.id, number)).fetchone():
            raise CannotVoid(f"Request {name} is already void.", next_step="Nothing to do: it is never charged.")
        if number < user.open_from:
            raise _paid(name, user)
        (open_paid,) = self._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        fee, start = 0, user.paid - int(open_paid)
        for place, _, _, input_fee, output_fee in self._queue(user.id, user.open_from):
            fee = input_fee + output_fee
            if place == number:
                break
            start += fee
        if start < user.paid:
            raise _paid(name, user, in_part=user.paid < start + fee)
        return fee, start

    def _check_free(self, user: UserState, start: int, fee: int, name: str) -> None:
        """Raise CannotVoid if a settlement that may still take effect covers these wei of a user's queue."""
        for paid_before, covered in self._db.execute(
            "SELECT s.paid_before, s.fee FROM settlement s JOIN batch b ON b.id = s.batch_id WHERE s.user_id = ?"
            " AND (s.state = 'accepted' OR (s.state = 'signed' AND (b.state = 'open' OR b.form = 'adopted')))",
            (user.id,),
        ):
            first, end = int(paid_before), int(paid_before) + int(covered)
            if first < start + fee and start < end if fee else first <= start <= end:
                raise CannotVoid(
                    f"Request {name} of {user.address} is in a settlement that may still take effect.",
                    next_step="Run serving settle, or cancel it with serving settlement cancel. Then try again.",
                )

    def _shift(self, user: UserState, start: int, fee: int) -> None:
        """Adjust the starts of the user's settlements after `fee` wei at `start` were removed from the queue."""
        for batch, position, text in self._db.execute(
            "SELECT batch_id, position, paid_before FROM settlement WHERE user_id = ?", (user.id,)
        ).fetchall():
            paid_before = int(text)
            if paid_before > start:
                self._db.execute(
                    "UPDATE settlement SET paid_before = ? WHERE batch_id = ? AND position = ?",
                    (str(max(start, paid_before - fee)), batch, position),
                )

    def voids(self) -> list[Void]:
        """All voided requests, in the order in which they were voided."""
        return [
            Void(self._by_id[user].address, number, request_hash, int(fee), when, reason)
            for user, number, request_hash, fee, when, reason in self._db.execute(
                "SELECT v.user_id, v.number, r.hash, v.fee, v.time, v.reason FROM void v"
                " JOIN request r ON r.user_id = v.user_id AND r.number = v.number ORDER BY v.time, v.user_id, v.number"
            )
        ]


def _paid(name: str, user: UserState, *, in_part: bool = False) -> CannotVoid:
    return CannotVoid(
        f"Request {name} of {user.address} is paid{' in part' if in_part else ''}.",
        cause="A payment on chain cannot be reversed.",
        next_step="If the charge was wrong, pay the user back from the wallet.",
    )
