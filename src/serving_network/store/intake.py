# SPDX-License-Identifier: Apache-2.0
"""The gateway's half of the store: what was served is durable before the last byte of an answer leaves.

If the store takes no rows, because its disk is full or its server does not answer, the rows of requests under way go to
a spool, whose space was allocated in advance. They get their receipts once the store takes rows again; until then,
nobody's money counts as free, so no new request is served.

One gateway uses an SQLite file. Several use a PostgreSQL store: see `sessions`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict
from secrets import token_hex
from typing import Any, Final

from serving_network.files import SHORT_WAIT, lock, write_whole
from serving_network.messages.receipts import Ending, SignedReceipt, Source
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.store import billing
from serving_network.store.billing import Balance, Begun, Biller, Checkpoint, Delivered, Finished, Kept, Terms
from serving_network.store.database import CONFLICTS, FAILURES, Database, DatabaseFailure
from serving_network.store.leases import LeasedMoney, LocalMoney
from serving_network.store.location import Location, PostgresStore, beside
from serving_network.store.lookups import Funds, Lookups, split
from serving_network.store.opening import Identity, JournalFailure, connected, unusable
from serving_network.store.sessions import RENEW_SECONDS, ReservationLost, SessionLost, Sessions
from serving_network.store.spool import Spool
from serving_network.store.writing import Kind, Writer, each

CACHE_KIB: Final = 16_384
"""What the writing thread keeps of an SQLite store in memory: rows are appended, so few pages are used again."""
CHECKPOINT_WAIT: Final = 0.25
"""The seconds that a checkpoint waits for others at most, so that a hundred streams do not take as many commits."""
_THE_ONLY: Final = ""
"""The name of the gateway of an SQLite store."""


class Intake(Lookups):
    """The store of a running gateway. `open` it, and use it from the thread of one event loop."""

    def __init__(self, path: Location, identity: Identity, signer: AttestedSigner) -> None:
        super().__init__(path, identity)
        self._biller = Biller(identity, signer)
        self._held = ExitStack()
        self._restoring: asyncio.Future[int] | None = None
        self._spool: Spool
        self._sessions: Sessions | None = None
        self._writer: Writer
        self._bill: Kind[Finished, SignedReceipt]
        self.money: LocalMoney | LeasedMoney
        """What requests under way have reserved, and what is free for others."""

    def open(self) -> int:
        """Start writing; bills what a crash or a full disk left behind, and returns how many requests that were.

        Raises RunInProgress if another gateway of this machine uses the store, and JournalFailure if it cannot be used,
        or has open requests of a usage log.
        """
        try:
            self._held.enter_context(gateway_lock(self._path, "Another gateway uses this store."))
            self._spool = Spool(beside(self._path, ".spool"))
            self._held.callback(self._spool.close)
            if isinstance(self._path, PostgresStore):
                self._sessions = Sessions(_gateway_id(self._path), self._biller)
            with connected(self._path, self._identity) as db:
                self._check_no_open_log(db)
                recovered, end = self._recover(db)
            self._spool.clear(end)
            self._held.callback(self._stop_reading)
        except (*FAILURES, OSError) as error:
            self._held.close()
            raise unusable(self._path, error) from error
        except BaseException:
            self._held.close()
            raise
        self._start()
        return recovered

    def _start(self) -> None:
        kinds: list[Kind[Any, Any]] = [billing.set_balances, billing.begin, billing.checkpoint, billing.abandon]
        if self._sessions is None:
            self._bill = self._biller.bill
            self._writer = Writer(self._path, self._identity, [*kinds, self._bill], connect=_keep_little)
            self.money = LocalMoney(self.funds_and_billed, self._check_takes_rows)
        else:
            one = self._sessions
            self._bill = one.bill
            # A lease that is set anew is set to what is reserved, so before the requests that end lower it.
            kinds += [one.lower, one.grow, one.bill]
            self._writer = Writer(self._path, self._identity, kinds, connect=one.connect, enter=one.enter)
            self.money = LeasedMoney(one, self._writer.submit, self._check_takes_rows, self._mined_of)
        self._writer.start()

    def close(self) -> None:
        """Commit what is queued, and stop."""
        self._restoring = None
        self._writer.close()
        if self._sessions is not None:
            # Without that, another gateway ends the session later.
            with suppress(JournalFailure), connected(self._path, self._identity) as db:
                self._sessions.leave(db)
        self._held.close()

    async def keep(self) -> None:
        """Keep the leases of this gateway, and take over from gateways that crashed, until cancelled."""
        while isinstance(self.money, LeasedMoney) and self._sessions is not None:
            await asyncio.sleep(RENEW_SECONDS)
            self.money.return_idle()
            if self._spool.end:
                self._restore()
            await asyncio.gather(self._writer.submit(each, self._sessions.take_over), return_exceptions=True)

    # ------------------------------------------------------------------------------------------ writing

    async def begin(self, terms: Terms, now: int) -> None:
        """Store that a stream begins. Until it is finished, a crash bills its last checkpoint."""
        gateway = _THE_ONLY if self._sessions is None else self._sessions.gateway
        await self._writer.submit(billing.begin, Begun(terms, gateway, now))

    def checkpoint(self, id: bytes, delivery: Delivered, now: int) -> None:  # noqa: A002
        """Store what of a stream was delivered so far, within CHECKPOINT_WAIT."""
        waiting = self._writer.submit(billing.checkpoint, Checkpoint(id, delivery, now), within=CHECKPOINT_WAIT)
        waiting.add_done_callback(_ignore_failure)

    async def abandon(self, id: bytes) -> None:  # noqa: A002
        """Remove a stream that began and is not billed, because the model server refused it."""
        await self._writer.submit(billing.abandon, id)

    async def finish(
        self,
        terms: Terms,
        delivery: Delivered,
        ending: Ending,
        now: int,
        *,
        upstream_id: str | None = None,
        kept: Kept | None = None,
        begun: bool = True,
    ) -> SignedReceipt | None:
        """Store a served request with its receipt. When this returns, the row survives a crash of the machine.

        `begun` is whether it may be stored as a stream that began.

        It is None if the row is in the spool: the receipt is made when the store takes rows again.
        """
        money, lowers = self.money, 0
        if isinstance(money, LeasedMoney):
            lowers = money.lowering(terms.user, terms.reserved, delivery.fee)
        finished = Finished(terms, delivery, ending, now, upstream_id, kept, lowers, begun)
        try:
            receipt = await self._writer.submit(self._bill, finished, user=terms.user)
        except JournalFailure as failure:
            return await self._not_stored(finished, failure)
        except asyncio.CancelledError:
            money.forget()
            raise
        if isinstance(money, LeasedMoney):
            money.lowered(terms.user, lowers)
        else:
            money.bill(terms.user, receipt.receipt.billed_before + receipt.receipt.fee)
        return receipt

    async def _not_stored(self, one: Finished, failure: JournalFailure) -> SignedReceipt | None:
        """Put a request into the spool if the store takes no rows. Raises the failure if it has another reason."""
        self.money.forget()
        causes = list(_causes(failure))
        if any(isinstance(cause, (SessionLost, ReservationLost, *CONFLICTS)) for cause in causes):
            # Another gateway may have taken over, and billed what was delivered up to the last checkpoint.
            stored = self.receipt(one.terms.id)
            if stored is None or stored.receipt.ending is not Ending.CRASH:
                raise failure
            return stored
        if not any(_is_temporary(cause) for cause in causes):
            raise failure
        row = {"terms": _plain(one.terms), "delivery": _plain(one.delivery), "ending": int(one.ending)}
        try:
            await asyncio.to_thread(self._spool.append, row | {"time": one.time, "upstream_id": one.upstream_id})
        except OSError:
            raise failure from None
        return None

    async def set_balance(
        self, user: str, balance: int, pending_refund: int, block: int, nonce: int = 0, mined: int = 0
    ) -> None:
        """Store a user's money on chain, and the nonce of the last settlement that lowered it, read at this block.

        A newer block that is stored already stays. `mined` is what this settlement paid, if it is not booked yet.
        """
        self._set_mined(user, nonce, mined)
        row = Balance(user, balance, pending_refund, block, nonce)
        await self._writer.submit(billing.set_balances, row, user=user)
        if isinstance(self.money, LocalMoney):
            self.money.forget(user)
        self.money.return_surplus(user)

    def funds(self, user: str) -> Funds | None:
        """A user's money; None if the balance was never read. Raises JournalFailure while there are spooled rows."""
        self._check_takes_rows()
        return super().funds(user)

    def _check_takes_rows(self) -> None:
        if self._spool.end:
            self.money.forget()
            self._restore()
            raise JournalFailure(
                "The store does not take rows.", next_step="Free space on its disk, or start its server."
            )

    # --------------------------------------------------------------------------------------- recovering

    def _check_no_open_log(self, db: Database) -> None:
        """Requests of a log have no receipts, so none may be settled together with those of a gateway."""
        if db.execute("SELECT 1 FROM user WHERE owed <> paid AND NOT EXISTS (SELECT 1 FROM served) LIMIT 1").fetchone():
            raise JournalFailure(
                f"The journal {self._path} has requests of a usage log that are not settled.",
                cause="A settlement with such requests could not be checked against the users' receipts.",
                next_step="Settle them first: serving settle",
            )

    def _recover(self, db: Database) -> tuple[int, int]:
        """Bill what is in the spool, and the streams that a crash cut, by their last checkpoints."""
        db.begin()
        try:
            spooled, end = self._take_spool(db)
            if self._sessions is None:
                cut = self._biller.bill_cut(db, _THE_ONLY)
            else:
                cut = self._sessions.start(db) + self._sessions.take_over(db)
        except BaseException:
            db.rollback()
            raise
        db.commit()
        return spooled + cut, end

    def _take_spool(self, db: Database) -> tuple[int, int]:
        """Store the rows of the spool that are not stored yet. Returns how many, and the end of what was read."""
        rows, end = self._spool.rows()
        new = []
        for number, row in enumerate(rows, start=1):
            try:
                one = _finished(row)
            except (KeyError, TypeError, ValueError) as error:
                raise self._spool.damaged(number, error) from error
            if db.execute("SELECT 1 FROM served WHERE id = ?", (one.terms.id,)).fetchone() is None:
                new.append(one)
        if new:
            db.lock_accounts(one.terms.user for one in new)
            self._biller.bill(db, new)
        return len(new), end

    def _restore(self) -> None:
        """Ask the writing thread to store what is in the spool, unless it is asked already."""

        def done(future: asyncio.Future[int]) -> None:
            if self._restoring is not future:
                return  # the store was closed
            self._restoring = None
            if not future.cancelled() and future.exception() is None:
                self._spool.clear(future.result())
                self.money.forget()

        if self._restoring is None:
            self._restoring = self._writer.submit(each, lambda db: self._take_spool(db)[1])
            self._restoring.add_done_callback(done)


def _keep_little(db: Database) -> None:
    db.execute(f"PRAGMA cache_size = {-CACHE_KIB}")


def gateway_lock(store: Location, busy: str) -> AbstractContextManager[None]:
    """Keep other gateways of this machine from a store. Raises RunInProgress with the text `busy`."""
    return lock(beside(store, ".gateway.lock"), busy, wait=SHORT_WAIT)


def _gateway_id(store: Location) -> str:
    """The id of this machine's gateway, made by the first one. The caller holds the lock of the gateway."""
    path = beside(store, ".gateway-id")
    if not path.exists():
        write_whole(path, token_hex(16))
    return path.read_text(encoding="ascii")


def _causes(failure: BaseException) -> Iterator[BaseException]:
    cause = failure.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _is_temporary(cause: BaseException) -> bool:
    """Whether the store takes rows again once its disk has space or its server runs."""
    if isinstance(cause, DatabaseFailure):
        return cause.temporary
    return isinstance(cause, (sqlite3.OperationalError, OSError, JournalFailure))


def _finished(row: dict[str, Any]) -> Finished:
    """A row of the spool. Raises KeyError, TypeError or ValueError if it is damaged."""
    terms = Terms(**_bytes(row["terms"], "id", "request_hash"))
    fields = _bytes(row["delivery"], "answer_hash", "images")
    fields |= {"source": Source(fields["source"]), "images": tuple(split(fields["images"]))}
    return Finished(terms, Delivered(**fields), Ending(row["ending"]), row["time"], row["upstream_id"])


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
