# SPDX-License-Identifier: Apache-2.0
"""The gateway's half of the store: what was served, written by one thread that commits whatever is queued.

Each write is a job. The thread takes all jobs that are waiting, runs them in one transaction and commits it with
synchronous=FULL; while it commits, the next jobs gather. There is no timer, so that a single request does not wait, and
many requests share a commit. If a job fails, the transaction is begun again and undoes that job alone.

If the disk is full, the rows of requests under way go to a spool, whose space was allocated in advance. They get their
receipts once the store takes rows again; until then, nobody's money counts as free, so no new request is served.

A served request gets its sequence and `billedBefore` in the transaction that stores it, so a user's receipts have no
gaps, and the settlement run takes them in this order.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from secrets import token_bytes
from typing import Any, Final, NamedTuple, TypeVar

from serving_network.files import SHORT_WAIT, lock
from serving_network.messages.answer_signatures import SignedAnswer, answer_text
from serving_network.messages.receipts import Disclosure, Ending, Receipt, SignedReceipt, Source, content_hash
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.store.schema import padded
from serving_network.store.spool import Spool
from serving_network.store.sqlite import Identity, JournalFailure, connected, unusable

KEEP_SECONDS: Final = 600
"""How long an answer that was not streamed can be fetched again."""
CACHE_KIB: Final = 16_384
"""What the writing thread keeps of the store in memory: rows are appended, so few pages are used again."""

T = TypeVar("T")
_Job = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]"]
_Result = tuple["asyncio.Future[Any]", Any, Exception | None]


@dataclass(frozen=True, slots=True)
class Terms:
    """Whose request it is, and at which prices, in wei per unit."""

    id: bytes
    user: str
    token_id: int
    model: str
    input_price: int
    output_price: int
    request_hash: bytes


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


class Kept(NamedTuple):
    """An answer that its user can fetch again."""

    content_type: str
    body: bytes


class Funds(NamedTuple):
    """A user's money in wei: on chain, asked back, and of served requests that are not settled yet."""

    balance: int
    pending_refund: int
    unsettled: int

    @property
    def free(self) -> int:
        """What is left for further requests."""
        return self.balance - self.pending_refund - self.unsettled


class Intake:
    """The store of a running gateway. `open` it, and use it from the thread of one event loop."""

    def __init__(self, path: Path, identity: Identity, signer: AttestedSigner) -> None:
        self._path = path
        self._identity = identity
        self._signer = signer
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="intake", daemon=True)
        self._held = ExitStack()
        self._restoring: asyncio.Future[int] | None = None
        self._mined: dict[str, tuple[str, int]] = {}
        # The last second in which answers that are not kept any more were removed.
        self._swept = 0
        self._spool: Spool
        self._read: sqlite3.Connection

    def open(self) -> int:
        """Start writing; bills what a crash or a full disk left behind, and returns how many requests that were.

        Raises RunInProgress if another gateway uses the store, and JournalFailure if it cannot be used, or has open
        requests of a usage log.
        """
        try:
            self._held.enter_context(gateway_lock(self._path, "Another gateway uses this store."))
            self._spool = Spool(self._path.with_name(f"{self._path.name}.spool"))
            self._held.callback(self._spool.close)
            with connected(self._path, self._identity) as connection:
                self._check_no_open_log(connection)
                recovered, end = self._recover(connection)
            self._spool.clear(end)
            self._read = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
            self._held.callback(self._read.close)
        except (sqlite3.Error, OSError) as error:
            self._held.close()
            raise unusable(self._path, error) from error
        except BaseException:
            self._held.close()
            raise
        self._thread.start()
        return recovered

    def close(self) -> None:
        """Commit what is queued, and stop."""
        self._restoring = None
        self._jobs.put(None)
        self._thread.join()
        self._held.close()

    # ------------------------------------------------------------------------------------------ writing

    async def begin(self, terms: Terms, now: int) -> None:
        """Store that a stream begins. Until it is finished, a crash bills its last checkpoint."""
        empty = Delivered()
        await self._submit(
            lambda db: db.execute(
                "INSERT INTO begun VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, '0', '0', ?)",
                (
                    terms.id, terms.user, terms.token_id, terms.model, str(terms.input_price),
                    str(terms.output_price), terms.request_hash, empty.answer_hash, now,
                ),
            )
        )  # fmt: skip

    def checkpoint(self, id: bytes, delivery: Delivered, now: int) -> None:  # noqa: A002
        """Store what of a stream was delivered so far, without waiting for the commit."""
        waiting = self._submit(
            lambda db: db.execute(
                "UPDATE begun SET answer_hash = ?, length = ?, input_tokens = ?, cached_tokens = ?, output_tokens = ?,"
                " input_fee = ?, output_fee = ?, time = ? WHERE id = ?",
                (
                    delivery.answer_hash, delivery.length, delivery.input_tokens, delivery.cached_tokens,
                    delivery.output_tokens, str(delivery.input_fee), str(delivery.output_fee), now, id,
                ),
            )
        )  # fmt: skip
        waiting.add_done_callback(_ignore_failure)

    async def abandon(self, id: bytes) -> None:  # noqa: A002
        """Remove a stream that began and is not billed, because the model server refused it."""
        await self._submit(lambda db: db.execute("DELETE FROM begun WHERE id = ?", (id,)))

    async def finish(
        self,
        terms: Terms,
        delivery: Delivered,
        ending: Ending,
        now: int,
        *,
        upstream_id: str | None = None,
        kept: Kept | None = None,
    ) -> SignedReceipt | None:
        """Store a served request with its receipt. When this returns, the row survives a crash of the machine.

        It is None if the disk is full and the row is in the spool: the receipt is made when there is space again.
        """
        try:
            return await self._submit(lambda db: self._finish(db, terms, delivery, ending, now, upstream_id, kept))
        except JournalFailure as failure:
            if not isinstance(failure.__cause__, (sqlite3.OperationalError, OSError, JournalFailure)):
                raise
            row = {"terms": _plain(terms), "delivery": _plain(delivery), "ending": int(ending), "time": now}
            try:
                await asyncio.to_thread(self._spool.append, row | {"upstream_id": upstream_id})
            except OSError:
                raise failure from None
            return None

    async def set_balance(
        self, user: str, balance: int, pending_refund: int, block: int, nonce: int = 0, mined: int = 0
    ) -> None:
        """Store a user's money on chain, and the nonce of the last settlement that lowered it, read at this block.

        A newer block that is stored already stays. `mined` is what this settlement paid, if it is not booked yet.
        """
        if mined:
            self._mined[user] = padded(nonce), mined
        else:
            self._mined.pop(user, None)
        await self._submit(
            lambda db: db.execute(
                "INSERT INTO account VALUES (?, 0, '0', '0', ?, ?, ?, ?) ON CONFLICT (address) DO UPDATE SET"
                " balance = excluded.balance, pending_refund = excluded.pending_refund, nonce = excluded.nonce,"
                " block_number = excluded.block_number WHERE excluded.block_number >= account.block_number",
                (user, str(balance), str(pending_refund), padded(nonce), block),
            )
        )

    def _submit(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, future))
        return future

    def _finish(
        self,
        db: sqlite3.Connection,
        terms: Terms,
        delivery: Delivered,
        ending: Ending,
        now: int,
        upstream_id: str | None = None,
        kept: Kept | None = None,
    ) -> SignedReceipt:
        requests, billed = billed_so_far(db, terms.user)
        salt = token_bytes(32)
        receipt = Receipt(
            id=terms.id,
            provider=self._identity.provider,
            user=terms.user,
            token_id=terms.token_id,
            sequence=requests + 1,
            billed_before=billed,
            input_fee=delivery.input_fee,
            output_fee=delivery.output_fee,
            input_price=terms.input_price,
            output_price=terms.output_price,
            input_tokens=delivery.input_tokens,
            cached_tokens=delivery.cached_tokens,
            output_tokens=delivery.output_tokens,
            source=delivery.source,
            ending=ending,
            time=now,
            content=content_hash(salt, terms.request_hash, delivery.answer_hash),
        )
        identity = self._identity
        signature = self._signer.sign_typed(receipt, identity.chain_id, identity.contract)
        hashes = delivery.images or (delivery.answer_hash,)
        of_answer = self._signer.sign_answer(answer_text(terms.request_hash, hashes))
        disclosure = Disclosure(terms.model, salt, terms.request_hash, delivery.answer_hash, delivery.length)
        signed = SignedReceipt(receipt, identity.chain_id, identity.contract, signature, disclosure)
        insert_served(
            db, signed, disclosure, self._signer.address, of_answer, upstream_id=upstream_id, images=delivery.images
        )
        if now != self._swept:
            db.execute("DELETE FROM kept WHERE until <= ?", (now,))
            self._swept = now
        if kept is not None:
            db.execute(
                "INSERT INTO kept VALUES (?, ?, ?, ?)", (terms.id, now + KEEP_SECONDS, kept.content_type, kept.body)
            )
        return signed

    def _check_no_open_log(self, db: sqlite3.Connection) -> None:
        """Requests of a log have no receipts, so none may be settled together with those of a gateway."""
        if db.execute("SELECT 1 FROM user WHERE owed <> paid AND NOT EXISTS (SELECT 1 FROM served) LIMIT 1").fetchone():
            raise JournalFailure(
                f"The journal {self._path} has requests of a usage log that are not settled.",
                cause="A settlement with such requests could not be checked against the users' receipts.",
                next_step="Settle them first: serving settle",
            )

    def _recover(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Bill what is in the spool, and the streams that a crash cut, by their last checkpoints."""
        db.execute("BEGIN IMMEDIATE")
        try:
            spooled, end = self._take_spool(db)
            cut = db.execute(
                "SELECT id, address, token_id, model, input_price, output_price, request_hash, answer_hash, length,"
                " input_tokens, cached_tokens, output_tokens, input_fee, output_fee, time FROM begun ORDER BY time, id"
            ).fetchall()
            for row in cut:
                id_, user, token_id, model, input_price, output_price, request_hash, answer_hash, length = row[:9]
                of_input, cached, of_output, input_fee, output_fee, time = row[9:]
                terms = Terms(id_, user, token_id, model, int(input_price), int(output_price), request_hash)
                delivery = Delivered(
                    answer_hash, length, of_input, cached, of_output, int(input_fee), int(output_fee), Source.CHECKPOINT
                )
                self._finish(db, terms, delivery, Ending.CRASH, time)
        except BaseException:
            db.rollback()
            raise
        db.commit()
        return spooled + len(cut), end

    def _take_spool(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Store the rows of the spool that are not stored yet. Returns how many, and the end of what was read."""
        rows, end = self._spool.rows()
        stored = 0
        for row in rows:
            terms = Terms(**_bytes(row["terms"], "id", "request_hash"))
            fields = _bytes(row["delivery"], "answer_hash", "images")
            fields |= {"source": Source(fields["source"]), "images": tuple(_hashes(fields["images"]))}
            delivery = Delivered(**fields)
            if db.execute("SELECT 1 FROM served WHERE id = ?", (terms.id,)).fetchone() is None:
                self._finish(db, terms, delivery, Ending(row["ending"]), row["time"], row["upstream_id"])
                stored += 1
        return stored, end

    def _restore(self) -> None:
        """Ask the writing thread to store what is in the spool, unless it is asked already."""

        def done(future: asyncio.Future[int]) -> None:
            if self._restoring is not future:
                return  # the store was closed
            self._restoring = None
            if not future.cancelled() and future.exception() is None:
                self._spool.clear(future.result())

        if self._restoring is None:
            self._restoring = self._submit(lambda db: self._take_spool(db)[1])
            self._restoring.add_done_callback(done)

    def _write(self) -> None:
        """Commit batches of jobs until the store is closed. After a failure the next batch gets a new connection."""
        last = False
        while not last:
            batch, last = self._next()
            try:
                with connected(self._path, self._identity) as db:
                    db.execute(f"PRAGMA cache_size = {-CACHE_KIB}")
                    _commit(db, batch)
                    while not last:
                        batch, last = self._next()
                        _commit(db, batch)
            except Exception as error:  # noqa: BLE001 - the requests that wait report it
                _settle([(future, None, error) for _, future in batch])

    def _next(self) -> tuple[list[_Job], bool]:
        """All jobs that are waiting, at least one; whether the store is closed after them."""
        jobs = [self._jobs.get()]
        while not self._jobs.empty():
            jobs.append(self._jobs.get())
        return [job for job in jobs if job is not None], None in jobs

    # ------------------------------------------------------------------------------------------ reading

    def funds(self, user: str) -> Funds | None:
        """A user's money; None if the balance was never read. Raises JournalFailure while there are spooled rows."""
        if self._spool.end:
            self._restore()
            raise JournalFailure("The store does not take rows.", next_step="Free space on its disk.")
        row = self._row(
            f"SELECT a.balance, a.pending_refund, a.block_number, {_UNSETTLED} WHERE a.address = ?",
            (user,),
        )
        if row is None:
            return None
        balance, pending, block, *parts = row
        return Funds(int(balance), int(pending), self._unsettled(user, *parts)) if block >= 0 else None

    def unsettled(self, user: str) -> int:
        """The wei of a user's served requests that are not settled yet; 0 if there are none."""
        row = self._row(f"SELECT {_UNSETTLED} WHERE a.address = ?", (user,))
        return 0 if row is None else max(0, self._unsettled(user, *row))

    def unbooked_since(self, user: str, nonce: int) -> int | None:
        """The block at which the settlement with this nonce was made; None if it is booked or not of this store."""
        row = self._row(
            f"SELECT b.from_block FROM user u JOIN settlement s ON s.user_id = u.id AND {_UNBOOKED}"  # noqa: S608
            " JOIN batch b ON b.id = s.batch_id WHERE u.address = ? AND s.nonce = ? ORDER BY b.id LIMIT 1",
            (user, padded(nonce)),
        )
        return None if row is None else int(row[0])

    def _unsettled(self, user: str, billed: str, taken: str, owed: str, paid: str, nonce: str) -> int:
        """What a user owes. The balance that was read is lower already by what a settlement paid that is not booked."""
        of_nonce, mined = self._mined.get(user, ("", 0))
        return int(billed) - int(taken) + int(owed) - int(paid) - (mined if of_nonce == nonce else 0)

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
        hashes = _hashes(images) or [answer_hash]
        return SignedAnswer(answer_text(request_hash, hashes), signature, signer)

    def id_of(self, user: str, upstream_id: str) -> bytes | None:
        """The newest request of a user whose answer has this id of the model server."""
        row = self._row(
            "SELECT id FROM served WHERE address = ? AND upstream_id = ? ORDER BY number DESC LIMIT 1",
            (user, upstream_id),
        )
        return None if row is None else bytes(row[0])

    def kept(self, id: bytes, now: int) -> Kept | None:  # noqa: A002
        """An answer that is still kept."""
        row = self._row("SELECT content_type, body FROM kept WHERE id = ? AND until > ?", (id, now))
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
        try:
            return self._read.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise unusable(self._path, error) from error


_UNBOOKED: Final = (
    "s.state IN ('signed', 'accepted') AND s.state = 'signed' AND NOT EXISTS (SELECT 1 FROM settlement b"
    " WHERE b.user_id = s.user_id AND b.nonce = s.nonce AND b.state IN ('accepted', 'final'))"
)
_UNSETTLED: Final = (
    "a.billed, a.taken, ifnull(u.owed, '0'), ifnull(u.paid, '0'), ifnull((SELECT s.nonce FROM settlement s"  # noqa: S608
    f" WHERE s.user_id = u.id AND s.nonce = a.nonce AND {_UNBOOKED} LIMIT 1), '-')"
    " FROM account a LEFT JOIN user u ON u.address = a.address"
)
"""What a user owes. The last value is the nonce of a settlement that is mined and not booked yet: that of the balance
that was read, which is lower by the payment already."""


_RECEIPT: Final = (
    "id, address, sequence, billed_before, token_id, model, input_fee, output_fee, input_price, output_price,"
    " input_tokens, cached_tokens, output_tokens, source, ending, time, salt, request_hash, answer_hash, length,"
    " receipt_signature"
)


def gateway_lock(path: Path, busy: str) -> AbstractContextManager[None]:
    """Keep every other gateway from a store. Raises RunInProgress with the text `busy`."""
    return lock(path.with_name(f"{path.name}.gateway.lock"), busy, wait=SHORT_WAIT)


def billed_so_far(db: sqlite3.Connection, user: str) -> tuple[int, int]:
    """The sequence of a user's newest receipt, and the wei of all; zeros if there is none."""
    found = db.execute("SELECT requests, billed FROM account WHERE address = ?", (user,)).fetchone()
    return (0, 0) if found is None else (found[0], int(found[1]))


def insert_served(
    db: sqlite3.Connection,
    signed: SignedReceipt,
    disclosure: Disclosure,
    signer: str,
    answer_signature: bytes,
    *,
    upstream_id: str | None = None,
    images: Sequence[bytes] = (),
) -> None:
    """Store a served request, the user's next one, and count it as billed, inside the caller's transaction."""
    receipt = signed.receipt
    db.execute(
        f"INSERT INTO served VALUES (NULL{', ?' * 25})",  # noqa: S608 - placeholders only
        (
            receipt.id, receipt.user, receipt.sequence, str(receipt.billed_before), receipt.token_id, disclosure.model,
            str(receipt.input_fee), str(receipt.output_fee), str(receipt.input_price), str(receipt.output_price),
            receipt.input_tokens, receipt.cached_tokens, receipt.output_tokens, int(receipt.source),
            int(receipt.ending), receipt.time, disclosure.salt, disclosure.request_hash, disclosure.answer_hash,
            disclosure.length, upstream_id, signer, signed.signature, answer_signature, b"".join(images),
        ),
    )  # fmt: skip
    db.execute(
        "INSERT INTO account VALUES (?, ?, ?, '0', '0', '0', '', -1) ON CONFLICT (address) DO UPDATE SET"
        " requests = excluded.requests, billed = excluded.billed",
        (receipt.user, receipt.sequence, str(receipt.billed_before + receipt.fee)),
    )
    db.execute("DELETE FROM begun WHERE id = ?", (receipt.id,))


def _commit(db: sqlite3.Connection, batch: list[_Job]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        results: list[_Result] = [(future, job(db), None) for job, future in batch]
    except Exception:  # noqa: BLE001 - it happens again below, where it concerns one job only
        db.rollback()
        db.execute("BEGIN IMMEDIATE")
        results = [_outcome(db, job, future) for job, future in batch]
    db.commit()
    _settle(results)


def _outcome(db: sqlite3.Connection, job: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> _Result:
    """Run one job; a failure undoes it and no other. Raises if the whole transaction is lost."""
    db.execute("SAVEPOINT job")
    try:
        result, failure = job(db), None
    except Exception as error:  # noqa: BLE001 - the request that waits for it reports it
        db.execute("ROLLBACK TO job")
        result, failure = None, error
    db.execute("RELEASE job")
    return future, result, failure


def _settle(results: list[_Result]) -> None:
    """Hand results to the event loop that waits for them, in one call."""
    if not results:
        return
    try:
        results[0][0].get_loop().call_soon_threadsafe(_resolve, results)
    except RuntimeError:  # the loop is closed, so nobody waits any more
        return


def _resolve(results: list[_Result]) -> None:
    for future, result, failure in results:
        if future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            failed = JournalFailure("The request could not be stored.", cause=str(failure))
            failed.__cause__ = failure
            future.set_exception(failed)


def _hashes(joined: bytes) -> list[bytes]:
    """The hashes of 32 bytes that are joined."""
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]


def _plain(value: Terms | Delivered) -> dict[str, Any]:
    """The fields of a value for JSON."""
    fields = asdict(value)
    if "images" in fields:
        fields["images"] = b"".join(fields["images"])
    return {name: one.hex() if isinstance(one, bytes) else one for name, one in fields.items()}


def _bytes(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The fields of a value from JSON, where the bytes of those with these names are in hexadecimal."""
    return fields | {name: bytes.fromhex(fields[name]) for name in names}


def _ignore_failure(future: asyncio.Future[Any]) -> None:
    """A lost checkpoint only means that a crash bills less."""
    if not future.cancelled():
        future.exception()
