# SPDX-License-Identifier: Apache-2.0
"""The rows of requests: begun, billed with a receipt, and the balances that pay for them.

A served request gets its sequence and `billedBefore` in the transaction that stores it, with its user's account locked,
so a user's receipts have no gaps, and the settlement run takes them in this order. Each function writes the rows of
many requests, inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_bytes
from typing import Any, Final, NamedTuple

from serving_network.messages.answer_signatures import answer_text
from serving_network.messages.receipts import Disclosure, Ending, Receipt, SignedReceipt, Source, content_hash
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.store.database import Database
from serving_network.store.opening import Identity
from serving_network.store.schema import padded
from serving_network.store.writing import nothing

KEEP_SECONDS: Final = 600
"""How long an answer that was not streamed can be fetched again."""
_SWEEP: Final = (
    "DELETE FROM kept WHERE number < coalesce("
    "(SELECT number FROM kept WHERE until > ? ORDER BY number LIMIT 1), 9223372036854775807)"
)
"""Removes answers up to the oldest that is still kept. An index by time would be one more page to write per commit."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose request it is, and at which prices, in wei per unit.

    `reserved` is what it can cost at most, and `session` that of the gateway which leased so much for it.
    """

    id: bytes
    user: str
    token_id: int
    model: str
    input_price: int
    output_price: int
    request_hash: bytes
    reserved: int = 0
    session: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was delivered and what it costs. The hash is SHA-256 of the `length` bytes that the client got."""

    answer_hash: bytes = sha256(b"").digest()
    length: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    input_fee: int = 0
    output_fee: int = 0
    source: Source = Source.USAGE
    images: tuple[bytes, ...] = ()
    """The SHA-256 hash of each image in the answer, which the signature of the answer is over instead."""

    @property
    def fee(self) -> int:
        return self.input_fee + self.output_fee


class Kept(NamedTuple):
    """An answer that its user can fetch again."""

    content_type: str
    body: bytes


class Begun(NamedTuple):
    """A stream that begins, the gateway that serves it, and the time."""

    terms: Terms
    gateway: str
    time: int


class Checkpoint(NamedTuple):
    """What of a stream was delivered so far."""

    id: bytes
    delivery: Delivered
    time: int


class Finished(NamedTuple):
    """A request to bill. `lowers` is by how much that lowers the gateway's lease of the user's money, in wei.

    `begun` is whether it may be stored as one that began.
    """

    terms: Terms
    delivery: Delivered
    ending: Ending
    time: int
    upstream_id: str | None = None
    kept: Kept | None = None
    lowers: int = 0
    begun: bool = True


class Balance(NamedTuple):
    """A user's money on chain at a block, and the nonce of the last settlement that lowered it."""

    user: str
    balance: int
    pending_refund: int
    block: int
    nonce: int


class ServedRow(NamedTuple):
    """A served request, as it is stored."""

    signed: SignedReceipt
    disclosure: Disclosure
    signer: str
    answer_signature: bytes
    upstream_id: str | None = None
    images: Sequence[bytes] = ()


class Biller:
    """Bills requests: gives each its sequence, signs its receipt and stores both."""

    def __init__(self, identity: Identity, signer: AttestedSigner) -> None:
        self._identity = identity
        self._signer = signer
        self._swept = 0
        """The last second in which answers that are not kept any more were removed."""

    def bill(self, db: Database, requests: Sequence[Finished]) -> list[SignedReceipt]:
        """Bill requests, those of a user in this order."""
        billed = billed_so_far(db, {one.terms.user for one in requests})
        rows = []
        for one in requests:
            row = self._row(one, *billed.get(one.terms.user, (0, 0)))
            rows.append(row)
            receipt = row.signed.receipt
            billed[one.terms.user] = (receipt.sequence, receipt.billed_before + receipt.fee)
        insert_served(db, rows)
        if begun := [one.terms.id for one in requests if one.begun]:
            abandon(db, begun)
        self._keep(db, requests)
        return [row.signed for row in rows]

    def _row(self, one: Finished, sequence: int, billed: int) -> ServedRow:
        terms, delivery, identity = one.terms, one.delivery, self._identity
        salt = token_bytes(32)
        receipt = Receipt(
            id=terms.id,
            provider=identity.provider,
            user=terms.user,
            token_id=terms.token_id,
            sequence=sequence + 1,
            billed_before=billed,
            input_fee=delivery.input_fee,
            output_fee=delivery.output_fee,
            input_price=terms.input_price,
            output_price=terms.output_price,
            input_tokens=delivery.input_tokens,
            cached_tokens=delivery.cached_tokens,
            output_tokens=delivery.output_tokens,
            source=delivery.source,
            ending=one.ending,
            time=one.time,
            content=content_hash(salt, terms.request_hash, delivery.answer_hash),
        )
        signature = self._signer.sign_typed(receipt, identity.chain_id, identity.contract)
        hashes = delivery.images or (delivery.answer_hash,)
        of_answer = self._signer.sign_answer(answer_text(terms.request_hash, hashes))
        disclosure = Disclosure(terms.model, salt, terms.request_hash, delivery.answer_hash, delivery.length)
        signed = SignedReceipt(receipt, identity.chain_id, identity.contract, signature, disclosure)
        return ServedRow(signed, disclosure, self._signer.address, of_answer, one.upstream_id, delivery.images)

    def _keep(self, db: Database, requests: Sequence[Finished]) -> None:
        now = max(one.time for one in requests)
        if now != self._swept:
            db.executemany(_SWEEP, [(now,)])
            self._swept = now
        db.executemany(
            "INSERT INTO kept VALUES ((SELECT number FROM served WHERE id = ?), ?, ?, ?)",
            [
                (one.terms.id, one.time + KEEP_SECONDS, one.kept.content_type, one.kept.body)
                for one in requests
                if one.kept is not None
            ],
        )

    def bill_cut(self, db: Database, gateway: str) -> int:
        """Bill the streams that a gateway began and did not end, by their last checkpoints. Returns how many."""
        rows = db.execute(
            "SELECT id, address, token_id, model, input_price, output_price, request_hash, answer_hash, length,"
            " input_tokens, cached_tokens, output_tokens, input_fee, output_fee, time FROM begun WHERE gateway = ?"
            " ORDER BY time, id",
            (gateway,),
        ).fetchall()
        cut = []
        for row in rows:
            id_, user, token_id, model, input_price, output_price, request_hash, answer_hash, length = row[:9]
            of_input, cached, of_output, input_fee, output_fee, time = row[9:]
            terms = Terms(id_, user, token_id, model, int(input_price), int(output_price), request_hash)
            delivery = Delivered(
                answer_hash, length, of_input, cached, of_output, int(input_fee), int(output_fee), Source.CHECKPOINT
            )
            cut.append(Finished(terms, delivery, Ending.CRASH, time))
        if cut:
            db.lock_accounts(one.terms.user for one in cut)
            self.bill(db, cut)
        return len(cut)


def begin(db: Database, streams: Sequence[Begun]) -> list[None]:
    """Store that streams begin."""
    empty = Delivered()
    db.executemany(
        "INSERT INTO begun VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '0', '0', ?, ?)",
        [
            (
                terms.id, terms.user, terms.token_id, terms.model, str(terms.input_price), str(terms.output_price),
                terms.request_hash, empty.answer_hash, now, gateway,
            )
            for terms, gateway, now in streams
        ],
    )  # fmt: skip
    return nothing(streams)


def checkpoint(db: Database, reached: Sequence[Checkpoint]) -> list[None]:
    """Store what of streams was delivered so far."""
    db.executemany(
        "UPDATE begun SET answer_hash = ?, length = ?, input_tokens = ?, cached_tokens = ?, output_tokens = ?,"
        " input_fee = ?, output_fee = ?, time = ? WHERE id = ?",
        [
            (
                delivery.answer_hash, delivery.length, delivery.input_tokens, delivery.cached_tokens,
                delivery.output_tokens, str(delivery.input_fee), str(delivery.output_fee), now, id_,
            )
            for id_, delivery, now in reached
        ],
    )  # fmt: skip
    return nothing(reached)


def abandon(db: Database, ids: Sequence[bytes]) -> list[None]:
    """Remove streams that began and are not billed."""
    db.executemany("DELETE FROM begun WHERE id = ?", [(one,) for one in ids])
    return nothing(ids)


def set_balances(db: Database, balances: Sequence[Balance]) -> list[None]:
    """Store users' money on chain. A newer block that is stored already stays."""
    db.executemany(
        "INSERT INTO account (address, requests, billed, taken, balance, pending_refund, nonce, block_number)"
        " VALUES (?, 0, '0', '0', ?, ?, ?, ?) ON CONFLICT (address) DO UPDATE SET"
        " balance = excluded.balance, pending_refund = excluded.pending_refund, nonce = excluded.nonce,"
        " block_number = excluded.block_number WHERE excluded.block_number >= account.block_number",
        [
            (one.user, str(one.balance), str(one.pending_refund), padded(one.nonce), one.block)
            for one in sorted(balances)
        ],
    )
    return nothing(balances)


def billed_so_far(db: Database, users: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The sequence of each user's newest receipt, and the wei of all. Users who have none may be missing."""
    rows = db.query_many(
        "SELECT address, requests, billed FROM account WHERE address = ?", [(user,) for user in sorted(users)]
    )
    return {address: (requests, int(billed)) for address, requests, billed in rows}


def insert_served(db: Database, rows: Sequence[ServedRow]) -> None:
    """Store served requests, each its user's next one, and count them as billed."""
    db.executemany(
        f"INSERT INTO served ({', '.join(_SERVED)}) VALUES ({', '.join('?' * len(_SERVED))})",  # noqa: S608
        [_values(row) for row in rows],
    )
    newest: Mapping[str, Receipt] = {row.signed.receipt.user: row.signed.receipt for row in rows}
    db.executemany(
        "INSERT INTO account (address, requests, billed, taken, balance, pending_refund, nonce, block_number)"
        " VALUES (?, ?, ?, '0', '0', '0', '', -1) ON CONFLICT (address) DO UPDATE SET"
        " requests = excluded.requests, billed = excluded.billed",
        [(user, one.sequence, str(one.billed_before + one.fee)) for user, one in sorted(newest.items())],
    )


_SERVED: Final = (
    "id", "address", "sequence", "billed_before", "token_id", "model", "input_fee", "output_fee", "input_price",
    "output_price", "input_tokens", "cached_tokens", "output_tokens", "source", "ending", "time", "salt",
    "request_hash", "answer_hash", "length", "upstream_id", "signer", "receipt_signature", "answer_signature", "images",
)  # fmt: skip


def _values(row: ServedRow) -> tuple[Any, ...]:
    receipt, disclosure = row.signed.receipt, row.disclosure
    return (
        receipt.id, receipt.user, receipt.sequence, str(receipt.billed_before), receipt.token_id, disclosure.model,
        str(receipt.input_fee), str(receipt.output_fee), str(receipt.input_price), str(receipt.output_price),
        receipt.input_tokens, receipt.cached_tokens, receipt.output_tokens, int(receipt.source),
        int(receipt.ending), receipt.time, disclosure.salt, disclosure.request_hash, disclosure.answer_hash,
        disclosure.length, row.upstream_id, row.signer, row.signed.signature, row.answer_signature,
        b"".join(row.images),
    )  # fmt: skip
