# SPDX-License-Identifier: Apache-2.0
"""What a gateway reads of its store: money, receipts, signatures and kept answers."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from serving_network.messages.answer_signatures import SignedAnswer, answer_text
from serving_network.messages.receipts import Disclosure, Ending, Receipt, SignedReceipt, Source, content_hash
from serving_network.store.billing import Kept
from serving_network.store.database import FAILURES, Database, DatabaseFailure
from serving_network.store.location import Location
from serving_network.store.opening import Identity, read_only, unusable
from serving_network.store.schema import padded

READ_SECONDS: Final = 5.0
"""The event loop waits for these queries, so a PostgreSQL server that hangs must not hold it for long."""


class Funds(NamedTuple):
    """A user's money in wei: on chain, asked back, and of served requests that are not settled yet."""

    balance: int
    pending_refund: int
    unsettled: int

    @property
    def free(self) -> int:
        """What is left for further requests."""
        return self.balance - self.pending_refund - self.unsettled


class Mined(NamedTuple):
    """What a settlement paid that is mined and not booked yet, with its nonce as stored."""

    nonce: str
    paid: int


class Lookups:
    """Short queries of an open store."""

    def __init__(self, store: Location, identity: Identity) -> None:
        self._path = store
        self._identity = identity
        self._read: Database | None = None
        self._mined: dict[str, Mined] = {}

    def funds(self, user: str) -> Funds | None:
        """A user's money; None if the balance was never read."""
        found = self.funds_and_billed(user)
        return None if found is None else found[0]

    def funds_and_billed(self, user: str) -> tuple[Funds, int] | None:
        """A user's money, and the wei of all served requests that it accounts for."""
        row = self._row(
            f"SELECT a.balance, a.pending_refund, a.block_number, {UNSETTLED} WHERE a.address = ?",
            (user,),
        )
        if row is None:
            return None
        balance, pending, block, *parts = row
        if block < 0:
            return None
        return Funds(int(balance), int(pending), unsettled(self._mined_of(user), *parts)), int(parts[0])

    def unsettled(self, user: str) -> int:
        """The wei of a user's served requests that are not settled yet; 0 if there are none."""
        row = self._row(f"SELECT {UNSETTLED} WHERE a.address = ?", (user,))
        return 0 if row is None else max(0, unsettled(self._mined_of(user), *row))

    def unbooked_since(self, user: str, nonce: int) -> int | None:
        """The block at which the settlement with this nonce was made; None if it is booked or not of this store."""
        row = self._row(
            f"SELECT b.from_block FROM user u JOIN settlement s ON s.user_id = u.id AND {_UNBOOKED}"  # noqa: S608
            " JOIN batch b ON b.id = s.batch_id WHERE u.address = ? AND s.nonce = ? ORDER BY b.id LIMIT 1",
            (user, padded(nonce)),
        )
        return None if row is None else int(row[0])

    def _set_mined(self, user: str, nonce: int, paid: int) -> None:
        if paid:
            self._mined[user] = Mined(padded(nonce), paid)
        else:
            self._mined.pop(user, None)

    def _mined_of(self, user: str) -> Mined:
        return self._mined.get(user, _NOTHING_MINED)

    def receipt(self, id: bytes) -> SignedReceipt | None:  # noqa: A002
        """The receipt of a request."""
        row = self._row(f"SELECT {_RECEIPT} FROM served WHERE id = ?", (id,))  # noqa: S608
        return None if row is None else self._signed(row)

    def receipts(self, user: str, after: int, limit: int) -> list[SignedReceipt]:
        """A user's receipts with a sequence above `after`, in order."""
        rows = self._rows(
            f"SELECT {_RECEIPT} FROM served WHERE address = ? AND sequence > ? ORDER BY sequence LIMIT ?",  # noqa: S608
            (user, after, limit),
        )
        return [self._signed(row) for row in rows]

    def last_sequence(self, user: str) -> int:
        """The sequence of a user's newest receipt; 0 if there is none."""
        row = self._row("SELECT requests FROM account WHERE address = ?", (user,))
        return 0 if row is None else int(row[0])

    def answer(self, id: bytes, since: int) -> SignedAnswer | None:  # noqa: A002
        """The signature of an answer that ended at `since` or later."""
        row = self._row(
            "SELECT request_hash, answer_hash, images, answer_signature, signer FROM served WHERE id = ? AND time >= ?",
            (id, since),
        )
        if row is None:
            return None
        request_hash, answer_hash, images, signature, signer = row
        return SignedAnswer(answer_text(request_hash, split(images) or [answer_hash]), signature, signer)

    def id_of(self, user: str, upstream_id: str) -> bytes | None:
        """The newest request of a user whose answer has this id of the model server."""
        row = self._row(
            "SELECT id FROM served WHERE address = ? AND upstream_id = ? ORDER BY number DESC LIMIT 1",
            (user, upstream_id),
        )
        return None if row is None else bytes(row[0])

    def kept(self, id: bytes, now: int) -> Kept | None:  # noqa: A002
        """An answer that is still kept."""
        row = self._row(
            "SELECT content_type, body FROM kept JOIN served USING (number) WHERE id = ? AND until > ?", (id, now)
        )
        return None if row is None else Kept(*row)

    def _signed(self, row: tuple[Any, ...]) -> SignedReceipt:
        (
            id_, user, sequence, billed_before, token_id, model, input_fee, output_fee, input_price, output_price,
            input_tokens, cached_tokens, output_tokens, source, ending, time, salt, request_hash, answer_hash, length,
            signature,
        ) = row  # fmt: skip
        receipt = Receipt(
            id=id_,
            provider=self._identity.provider,
            user=user,
            token_id=token_id,
            sequence=sequence,
            billed_before=int(billed_before),
            input_fee=int(input_fee),
            output_fee=int(output_fee),
            input_price=int(input_price),
            output_price=int(output_price),
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            source=Source(source),
            ending=Ending(ending),
            time=time,
            content=content_hash(salt, request_hash, answer_hash),
        )
        disclosure = Disclosure(model, salt, request_hash, answer_hash, length)
        return SignedReceipt(receipt, self._identity.chain_id, self._identity.contract, signature, disclosure)

    def _row(self, query: str, values: tuple[Any, ...]) -> Any:
        rows = self._rows(query, values)
        return rows[0] if rows else None

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        used_before = self._read is not None
        try:
            if self._read is None:
                self._read = read_only(self._path, READ_SECONDS)
            return self._read.execute(query, values).fetchall()
        except FAILURES as error:
            self._stop_reading()
            if used_before and isinstance(error, DatabaseFailure) and error.lost:
                return self._rows(query, values)  # the server was restarted
            raise unusable(self._path, error) from error

    def _stop_reading(self) -> None:
        """Close the connection. The next query opens another one."""
        connection, self._read = self._read, None
        if connection is not None:
            connection.close()


_NOTHING_MINED: Final = Mined("", 0)
_UNBOOKED: Final = (
    "s.state IN ('signed', 'accepted') AND s.state = 'signed' AND NOT EXISTS (SELECT 1 FROM settlement b"
    " WHERE b.user_id = s.user_id AND b.nonce = s.nonce AND b.state IN ('accepted', 'final'))"
)
UNSETTLED: Final = (
    "a.billed, a.taken, coalesce(u.owed, '0'), coalesce(u.paid, '0'),"  # noqa: S608 - no values
    " coalesce((SELECT s.nonce FROM settlement s"
    f" WHERE s.user_id = u.id AND s.nonce = a.nonce AND {_UNBOOKED} LIMIT 1), '-')"
    " FROM account a LEFT JOIN user u ON u.address = a.address"
)
"""What a user owes. The last value is the nonce of a settlement that is mined and not booked yet: that of the balance
that was read, which is lower by the payment already."""


def unsettled(mined: Mined, billed: str, taken: str, owed: str, paid: str, nonce: str) -> int:
    """The wei that a user owes, from the values of UNSETTLED."""
    return int(billed) - int(taken) + int(owed) - int(paid) - (mined.paid if mined.nonce == nonce else 0)


_RECEIPT: Final = (
    "id, address, sequence, billed_before, token_id, model, input_fee, output_fee, input_price, output_price,"
    " input_tokens, cached_tokens, output_tokens, source, ending, time, salt, request_hash, answer_hash, length,"
    " receipt_signature"
)


def split(joined: bytes) -> list[bytes]:
    """The hashes of 32 bytes that are joined."""
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]
