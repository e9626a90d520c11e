"""The state of settlements on disk, written so that a run can be killed at any moment without losing anything.

The requests of each user form a queue. Payments on chain move a cursor along that queue, oldest request first, and may
stop in the middle of a request. Everything before the cursor is paid, everything after it is open. A single number
per user, the wei paid, therefore determines the state of all the user's requests.

Writes happen in this order, each in one database transaction:

1. `record`: requests as they are read, each once, with the price list in force.
2. `add_batch`: the signed settlements together with the raw transaction that will carry them, *before* it is
   broadcast.
3. `add_transaction`: another transaction for the batch, also before it is broadcast: a replacement with a higher
   fee, a new one if something else used the wallet's nonce, or an empty one that cancels the batch.
4. `accept`, `refuse`, `add_mined`: the results of settlements and transactions, read from the chain. An acceptance
   moves the user's cursor.
5. `end_batch`: none of the batch's transactions can take effect any more.
6. `finalise`: acceptances in final blocks become permanent.

A settlement is `signed`, then `accepted` by a transaction in a block, then `final` together with that block. After its
batch has ended, it is `dead` if a final acceptance has the same or a higher nonce, or if a settlement with a higher
nonce starts at the same place or earlier in the user's queue; from then on, that higher nonce is used.
`unbook` undoes acceptances whose block is no longer part of the chain.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from heapq import merge
from pathlib import Path
from typing import Final, NamedTuple

from serving_network.errors import InvalidInput, ServingError
from serving_network.messages.prices import Charge, Prices
from serving_network.messages.typed_data import UserSettlement
from serving_network.messages.usage import Reject, UsageRow
from serving_network.store.schema import SCHEMA_VERSION, create, keyed, migrate_version_1, padded

_COMMIT_EVERY: Final = 200_000


class JournalFailure(ServingError):
    """The journal cannot be used: it is damaged, not writable or of another version, or the disk is full."""

    exit_code = 3


class JournalOfAnother(JournalFailure):
    """The journal belongs to another chain, contract or provider."""


class CannotVoid(InvalidInput):
    """A request cannot be voided: it is unknown, paid, already void, or in a settlement that may still take effect."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a journal belongs to. `genesis` is the hash of block 0 and distinguishes chains with the same id."""

    chain_id: int
    genesis: str
    contract: str
    provider: str


@dataclass(slots=True)
class UserState:
    """One user's balance with the provider. Amounts are in wei.

    `open` is what is recorded, neither void nor paid. An overpayment counts towards later requests. `billed` includes
    void requests. `last_nonce` is the highest nonce ever signed or adopted for the user.
    """

    id: int
    address: str
    requests: int
    input_tokens: int
    output_tokens: int
    owed: int
    billed: int
    paid: int
    open_from: int
    last_nonce: int

    @property
    def open(self) -> int:
        return max(0, self.owed - self.paid)


class OpenWork(NamedTuple):
    """One user's open requests: their number and tokens."""

    requests: int
    input_tokens: int
    output_tokens: int


class Recorded(NamedTuple):
    """The result of recording rows: how many are new, how many are known from an earlier reading, and the rejects."""

    new: int
    known: int
    rejects: list[Reject]


class Transaction(NamedTuple):
    """A signed transaction that may have been broadcast. `nonce` is the wallet's; fees are in wei per gas.

    `purpose` is "carry" if it carries settlements, and "cancel" if it is empty and only uses up a nonce.
    """

    hash: str
    raw: bytes
    nonce: int
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    legacy: bool = False
    purpose: str = "carry"


class SignedRow(NamedTuple):
    """One user's settlement, ready to be sent. `signature` is empty if the batch is signed as a whole.

    `paid_before` is the paid part of the user's queue that precedes it, in wei. `accepted` is whether its acceptance
    is booked.
    """

    user: UserState
    settlement: UserSettlement
    signature: bytes
    requests: int
    expected_paid: int
    paid_before: int = 0
    accepted: bool = False


class Outcome(NamedTuple):
    """What the contract did with one settlement: its status, and the wei it paid."""

    status: int
    paid: int


class Mined(NamedTuple):
    """The block in which a transaction was mined, its gas, and the cost of the gas in wei."""

    block_number: int
    block_hash: str
    gas_used: int
    gas_cost: int


class Acceptance(NamedTuple):
    """The acceptance of a settlement: its outcome (SUCCESS or PARTIAL), block and transaction."""

    outcome: Outcome
    block_number: int
    block_hash: str
    transaction: str


class LiveSettlement(NamedTuple):
    """A settlement that may still be accepted, or whose acceptance may still be undone.

    It covers `fee` wei of the user's queue, starting at `paid_before`. `accepted` is whether its acceptance is booked,
    `in_full` whether it was paid in full.
    """

    nonce: int
    fee: int
    paid_before: int
    accepted: bool
    in_full: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Settlements sent together. `transactions` are all that were made for them, newest last."""

    id: int
    form: str
    signer: str
    signature: bytes
    from_block: int
    rows: tuple[SignedRow, ...]
    transactions: tuple[Transaction, ...]

    @property
    def cancelled(self) -> bool:
        """Whether an empty transaction was made to cancel it, so that it is not sent again."""
        return any(sent.purpose == "cancel" for sent in self.transactions)


class Request(NamedTuple):
    """A recorded request: its user, its number in the user's queue, the wei that precede it, and its fee in wei."""

    user: str
    number: int
    start: int
    fee: int


class BatchSummary(NamedTuple):
    """A batch for a listing. Amounts are in wei; `mined` maps transactions that were mined to their blocks.

    The batch's form is 'adopted' if another program or journal sent it. `ended` is whether none of its transactions can
    take effect any more.
    """

    batch: Batch
    ended: bool
    states: tuple[str, ...]
    statuses: tuple[int | None, ...]
    paid: tuple[int | None, ...]
    accepted_in: tuple[str | None, ...]
    blocks: tuple[int | None, ...]
    mined: Mapping[str, int]


class Void(NamedTuple):
    """A voided request: its user, its number in the user's queue, its hash, its fee in wei, the time and the reason."""

    user: str
    number: int
    request_hash: bytes
    fee: int
    time: int
    reason: str


class Journal:
    """The journal of one provider on one chain. Use `open_journal`."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._db = connection
        self._users: dict[str, UserState] = {}
        self._by_id: dict[int, UserState] = {}
        self._touched: set[str] = set()
        self._in_credit: set[str] = set()
        self._pass = 0
        self._uncommitted = 0
        self._secret: str = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()[0]
        self._prices: dict[int, Prices] = {}
        self._load()

    def _load(self) -> None:
        """Load users and prices from the database. A UserState handed out before is updated in place."""
        self._prices = {
            number: Prices(int(input_price), int(output_price))
            for number, input_price, output_price in self._db.execute("SELECT id, input_price, output_price FROM price")
        }
        handed_out, self._users, self._by_id = self._users, {}, {}
        newest = dict(self._db.execute("SELECT user_id, max(nonce) FROM settlement GROUP BY user_id").fetchall())
        for row in self._db.execute(
            "SELECT id, address, requests, input_tokens, output_tokens, owed, billed, paid, open_from FROM user"
        ):
            number, address, requests, input_tokens, output_tokens, owed, billed, paid, open_from = row
            user = UserState(
                number, address, requests, input_tokens, output_tokens, int(owed), int(billed), int(paid), open_from,
                int(newest.get(number, 0)),
            )  # fmt: skip
            if address in handed_out:
                for field in fields(UserState):
                    setattr(handed_out[address], field.name, getattr(user, field.name))
                user = handed_out[address]
            self._users[address] = self._by_id[number] = user

    def _undo(self) -> None:
        """Roll back everything that is not yet durable, in the database and in memory."""
        self._db.rollback()
        self._touched.clear()
        self._in_credit.clear()
        self._uncommitted = 0
        self._load()

    # ---------------------------------------------------------------------------------------- recording

    def begin_reading(self) -> None:
        """Start reading a log: an id that occurs twice from here on is a duplicate, one recorded before is known."""
        with self._transaction():
            row = self._db.execute("SELECT value FROM meta WHERE key = 'pass'").fetchone()
            self._pass = int(row[0]) + 1
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'pass'", (str(self._pass),))

    def record(self, rows: Sequence[UsageRow], prices: Prices) -> Recorded:
        """Record requests that are not recorded yet, at these prices unless a row has its own fees.

        They are durable after `end_reading` at the latest. A failure rolls back everything that is not durable yet.
        """
        try:
            return self._record(rows, prices)
        except BaseException:
            self._undo()
            raise

    def _record(self, rows: Sequence[UsageRow], prices: Prices) -> Recorded:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        price = self._price_list(prices)
        self._db.execute("SAVEPOINT chunk")
        before = {row.user: self._counts(row.user) for row in rows}
        made = [self._append(row, prices, price) for row in rows]
        changes = self._db.total_changes
        self._db.executemany("INSERT OR IGNORE INTO known VALUES (?, ?, ?, ?)", sorted(new[1] for new in made))
        if self._db.total_changes - changes == len(rows):
            self._write(made)
            recorded = Recorded(len(rows), 0, [])
        else:
            self._db.execute("ROLLBACK TO chunk")
            for address, counts in before.items():
                self._restore(address, counts)
            recorded = self._record_singly(rows, prices, price)
        self._db.execute("RELEASE chunk")
        self._uncommitted += len(rows)
        if self._uncommitted >= _COMMIT_EVERY:
            self.end_reading()
        return recorded

    def end_reading(self) -> None:
        """Make everything recorded so far durable."""
        self._db.executemany(
            "UPDATE user SET requests = ?, input_tokens = ?, output_tokens = ?, owed = ?, billed = ? WHERE id = ?",
            [
                (user.requests, user.input_tokens, user.output_tokens, str(user.owed), str(user.billed), user.id)
                for user in map(self._users.__getitem__, self._touched)
            ],
        )
        for address in self._in_credit & self._touched:
            self._book(self._users[address], self._users[address].paid)
        self._touched.clear()
        self._in_credit.clear()
        self._uncommitted = 0
        self._db.commit()

    def _price_list(self, prices: Prices) -> int:
        """The number of this price list. Prices that differ from the newest list are added as a new one."""
        newest = max(self._prices, default=0)
        if self._prices.get(newest) == prices:
            return newest
        self._db.execute(
            "INSERT INTO price VALUES (?, ?, ?, '1', ?)",
            (newest + 1, str(prices.input_price), str(prices.output_price), int(self._clock())),
        )
        self._prices[newest + 1] = prices
        return newest + 1

    def _write(self, made: Iterable[_New]) -> None:
        self._db.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", sorted(new[0] for new in made))
        fees = sorted(new[2] for new in made if new[2] is not None)
        if fees:
            self._db.executemany("INSERT INTO own_fee VALUES (?, ?, ?, ?)", fees)

    def _record_singly(self, rows: Sequence[UsageRow], prices: Prices, price: int) -> Recorded:
        new = known = 0
        rejects: list[Reject] = []
        for row in rows:
            key = keyed(self._secret, row.request_hash)
            found = self._db.execute(
                "SELECT k.pass, u.address, r.input_tokens, r.output_tokens, r.price_id, f.input_fee, f.output_fee"
                " FROM known k"
                " JOIN request r ON r.user_id = k.user_id AND r.number = k.number JOIN user u ON u.id = k.user_id"
                " LEFT JOIN own_fee f ON f.user_id = k.user_id AND f.number = k.number WHERE k.hash = ?",
                (key,),
            ).fetchone()
            if found is None:
                made = self._append(row, prices, price)
                self._db.execute("INSERT INTO known VALUES (?, ?, ?, ?)", made[1])
                self._write([made])
                new += 1
                continue
            met, address, input_tokens, output_tokens, recorded_at, input_fee, output_fee = found
            fees = self._fees(recorded_at, input_tokens, output_tokens, input_fee, output_fee)
            if met == self._pass:
                rejects.append(Reject(row.line, f"duplicate request id {row.request_text}", ""))
            elif (address, input_tokens, output_tokens) != (row.user, row.input_tokens, row.output_tokens) or (
                row.fees is not None and row.fees != fees
            ):
                rejects.append(
                    Reject(
                        row.line, f"duplicate request id {row.request_text}: recorded before with different content", ""
                    )
                )
            else:
                self._db.execute("UPDATE known SET pass = ? WHERE hash = ?", (self._pass, key))
                known += 1
        return Recorded(new, known, rejects)

    def _append(self, row: UsageRow, prices: Prices, price: int) -> _New:
        """Append a request to its user's queue. Returns its rows for the tables request, known and own_fee."""
        user = self._users.get(row.user) or self._add_user(row.user)
        input_fee, output_fee = row.fees or prices.fees(row.input_tokens, row.output_tokens)
        number, billed = user.requests, user.billed
        if user.paid > user.owed:
            self._in_credit.add(row.user)
        user.requests += 1
        user.input_tokens += row.input_tokens
        user.output_tokens += row.output_tokens
        user.owed += input_fee + output_fee
        user.billed += input_fee + output_fee
        self._touched.add(row.user)
        plain = row.user_text == row.user and row.request_text == "0x" + row.request_hash.hex()
        return (
            (
                user.id,
                number,
                row.request_hash,
                None if plain else f"{row.request_text} {row.user_text}",
                row.time,
                row.input_tokens,
                row.output_tokens,
                price,
                str(billed),
            ),
            (keyed(self._secret, row.request_hash), user.id, number, self._pass),
            None if row.fees is None else (user.id, number, str(input_fee), str(output_fee)),
        )

    def _add_user(self, address: str) -> UserState:
        (number,) = self._db.execute(
            "INSERT INTO user VALUES (NULL, ?, 0, 0, 0, '0', '0', '0', 0, '0') RETURNING id", (address,)
        ).fetchone()
        user = UserState(number, address, 0, 0, 0, 0, 0, 0, 0, 0)
        self._users[address] = self._by_id[number] = user
        return user

    def _counts(self, address: str) -> tuple[int, int, int, int, int] | None:
        user = self._users.get(address)
        if user is None:
            return None
        return user.requests, user.input_tokens, user.output_tokens, user.owed, user.billed

    def _restore(self, address: str, counts: tuple[int, int, int, int, int] | None) -> None:
        if counts is None:
            del self._by_id[self._users.pop(address).id]
            self._touched.discard(address)
        else:
            user = self._users[address]
            user.requests, user.input_tokens, user.output_tokens, user.owed, user.billed = counts

    # ------------------------------------------------------------------------------------------ reading

    def users(self) -> list[UserState]:
        """All users with recorded requests."""
        return list(self._users.values())

    def user(self, address: str) -> UserState | None:
        """One user; None if no request of that address is recorded."""
        return self._users.get(address)

    def charges(self, user: UserState, limit: int | None = None) -> Iterator[Charge]:
        """The open requests of one user, oldest first, each with the amount still due.

        With `limit`, only as many as that amount of wei covers in full.
        """
        (open_paid,) = self._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        already, total = int(open_paid), 0
        for _, request_hash, spelling, input_fee, output_fee in self._queue(user.id, user.open_from):
            if spelling is None:
                request_text, user_text = "0x" + request_hash.hex(), user.address
            else:
                request_text, user_text = spelling.split(" ")
            charge = Charge(request_text, user_text, input_fee, output_fee)
            if already:
                if input_fee + output_fee <= already:
                    already -= input_fee + output_fee
                    continue
                charge, already = charge.less(already), 0
            total += charge.input_fee + charge.output_fee
            if limit is not None and total > limit:
                return
            yield charge

    def _queue(self, user: int, number: int) -> Iterator[tuple[int, bytes, str | None, int, int]]:
        """A user's requests starting at a number: number, hash, spelling and both fees. Void ones are skipped."""
        for row in self._db.execute(
            "SELECT r.number, r.hash, r.spelling, r.input_tokens, r.output_tokens, r.price_id, f.input_fee,"
            " f.output_fee FROM request r LEFT JOIN own_fee f ON f.user_id = r.user_id AND f.number = r.number"
            " LEFT JOIN void v ON v.user_id = r.user_id AND v.number = r.number"
            " WHERE r.user_id = ? AND r.number >= ? AND v.number IS NULL ORDER BY r.number",
            (user, number),
        ):
            place, request_hash, spelling, input_tokens, output_tokens, price, input_fee, output_fee = row
            fees = self._fees(price, input_tokens, output_tokens, input_fee, output_fee)
            yield place, request_hash, spelling, *fees

    def _fees(
        self, price: int, input_tokens: int, output_tokens: int, input_fee: str | None, output_fee: str | None
    ) -> tuple[int, int]:
        """The input and output fee of a recorded request: its own fees if it has any, else from its price list."""
        if input_fee is None or output_fee is None:
            return self._prices[price].fees(input_tokens, output_tokens)
        return int(input_fee), int(output_fee)

    def open_work(self, user: UserState) -> OpenWork:
        """The number of one user's open requests, and their tokens."""
        found = self._db.execute(
            "SELECT count(*), ifnull(sum(r.input_tokens), 0), ifnull(sum(r.output_tokens), 0) FROM request r"
            " LEFT JOIN void v ON v.user_id = r.user_id AND v.number = r.number"
            " WHERE r.user_id = ? AND r.number >= ? AND v.number IS NULL",
            (user.id, user.open_from),
        ).fetchone()
        return OpenWork(*found)

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

    def booked_blocks(self) -> Iterator[tuple[int, str]]:
        """The blocks of all bookings, as number and hash, newest first."""
        query = (
            "SELECT block_number, block_hash FROM {} WHERE block_number IS NOT NULL"
            " ORDER BY block_number DESC, block_hash"
        )
        tables = (self._db.cursor().execute(query.format(table)) for table in ("settlement", "sent"))
        seen: tuple[int, str] | None = None
        for found in merge(*tables, key=lambda block: (-int(block[0]), block[1])):
            if found != seen:
                seen = found
                yield found

    def last_booked_block(self) -> int:
        """The number of the newest block with a booking; 0 if there is none."""
        return next(self.booked_blocks(), (0, ""))[0]

    def final_block(self) -> int:
        """The number of the newest final block that the journal has recorded."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'final_block'").fetchone()
        return 0 if found is None else int(found[0])

    def searched_block(self) -> int | None:
        """The block up to which all settlements on chain are known; None before the first search."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'searched_block'").fetchone()
        return None if found is None else int(found[0])

    def set_searched_block(self, block_number: int) -> None:
        """Record that all settlements of these users up to a final block are known."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('searched_block', ?)", (str(block_number),))

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

    def free_nonce(self, first: int) -> int:
        """The wallet's lowest nonce from `first` on that is not used by a batch with undecided settlements."""
        taken = {
            nonce
            for (nonce,) in self._db.execute(
                "SELECT s.nonce FROM sent s JOIN batch b ON b.id = s.batch_id WHERE b.state = 'open' AND s.nonce >= ?"
                " AND EXISTS (SELECT 1 FROM settlement r WHERE r.batch_id = b.id AND r.state = 'signed')",
                (first,),
            )
        }
        while first in taken:
            first += 1
        return first

    def wallet_nonce_passed(self, block_number: int) -> int:
        """A lower bound for the wallet's nonce at this block, from booked transactions and final sightings."""
        (mined,) = self._db.execute("SELECT max(nonce) FROM sent WHERE block_number <= ?", (block_number,)).fetchone()
        seen = self._db.execute("SELECT value FROM meta WHERE key = 'wallet_passed'").fetchone()
        return max(0 if mined is None else mined + 1, 0 if seen is None else int(seen[0]))

    def voids(self) -> list[Void]:
        """All voided requests, in the order in which they were voided."""
        return [
            Void(self._by_id[user].address, number, request_hash, int(fee), when, reason)
            for user, number, request_hash, fee, when, reason in self._db.execute(
                "SELECT v.user_id, v.number, r.hash, v.fee, v.time, v.reason FROM void v"
                " JOIN request r ON r.user_id = v.user_id AND r.number = v.number ORDER BY v.time, v.user_id, v.number"
            )
        ]

    # ------------------------------------------------------------------------------------------ sending

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
            "INSERT INTO batch (form, signer, signature, from_block, state) VALUES (?, ?, ?, ?, 'open') RETURNING id",
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
            "INSERT INTO sent VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, NULL)"
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

    # ------------------------------------------------------------------------------------------ booking

    def add_mined(self, transaction: str, mined: Mined) -> bool:
        """Book that a transaction of a batch was mined. Returns whether this is new."""
        with self._transaction():
            done = self._db.execute(
                "UPDATE sent SET block_number = ?, block_hash = ?, gas_used = ?, gas_cost = ?"
                " WHERE hash = ? AND block_hash IS NOT ?",
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

    def refuse(self, batch: Batch, statuses: Mapping[int, int]) -> None:
        """Record the statuses with which the last transaction refused settlements of a batch, by position."""
        with self._transaction():
            self._db.executemany(
                "UPDATE settlement SET status = ? WHERE batch_id = ? AND position = ? AND state = 'signed'",
                [(status, batch.id, position) for position, status in statuses.items()],
            )

    def end_batch(self, batch: Batch) -> None:
        """Record that none of a batch's transactions can take effect any more."""
        with self._transaction():
            self._db.execute("UPDATE batch SET state = 'ended' WHERE id = ?", (batch.id,))

    def finalise(self, block_number: int) -> None:
        """Record that blocks up to this number are final: their acceptances are permanent.

        Dead is also what another settlement covers with a higher nonce. Version 1 signed such ones, and a request that
        is voided brings them about. Otherwise the user could be signed for with neither nonce.

        Every run does this, so only live settlements are read, from the index `settlement_live`. SQLite uses that only
        where its condition is repeated, and the plus signs keep it from other indexes.
        """
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('final_block', ?)", (str(block_number),))
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

    def overtaken(self, batch: Batch) -> bool:
        """Whether each settlement of a batch is final or overtaken by a final one with the same or a higher nonce."""
        (open_rows,) = self._db.execute(
            "SELECT count(*) FROM settlement s WHERE s.batch_id = ? AND s.state <> 'final' AND s.nonce >"
            " ifnull((SELECT max(f.nonce) FROM settlement f WHERE f.user_id = s.user_id AND f.state = 'final'), '')",
            (batch.id,),
        ).fetchone()
        return not open_rows

    def see_wallet(self, nonce: int, block_number: int, block_hash: str) -> None:
        """Record the wallet's nonce in a block, until that block is final.

        Only one such sighting is kept at a time. A newer one replaces it after it has become final or was undone.
        """
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('wallet_seen', ?)", (f"{nonce} {block_number} {block_hash}",)
            )

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
                self._db.execute("INSERT OR REPLACE INTO meta VALUES ('wallet_passed', ?)", (str(sighting[0]),))

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
            if block_number <= self.final_block():
                self._db.execute("UPDATE meta SET value = ? WHERE key = 'final_block'", (str(block_number - 1),))
                self._db.execute("DELETE FROM meta WHERE key = 'wallet_passed'")
                self._db.execute(
                    "UPDATE meta SET value = ? WHERE key = 'searched_block' AND CAST(value AS INTEGER) >= ?",
                    (str(block_number - 1), block_number),
                )
            self._revive({user for user, _ in undone})
            for user, paid in undone:
                self._rewind(self._by_id[user], int(paid))
        return len(undone)

    def _revive(self, users: set[int]) -> None:
        """Revive dead settlements that no final acceptance has overtaken any more, and reopen their batches."""
        for user in users:
            revived = self._db.execute(
                "UPDATE settlement SET state = 'signed' WHERE user_id = ? AND state = 'dead' AND nonce >"
                " ifnull((SELECT max(f.nonce) FROM settlement f"
                "         WHERE f.user_id = settlement.user_id AND f.state = 'final'), '') RETURNING batch_id",
                (user,),
            ).fetchall()
            self._db.executemany("UPDATE batch SET state = 'open' WHERE form <> 'adopted' AND id = ?", revived)

    def _rewind(self, user: UserState, paid: int) -> None:
        """Move a user's cursor back by `paid` wei."""
        user.open_from = 0
        self._db.execute("UPDATE user SET open_from = 0, open_paid = '0', paid = '0' WHERE id = ?", (user.id,))
        remaining, user.paid = user.paid - paid, 0
        self._book(user, remaining)

    def _book(self, user: UserState, paid: int) -> None:
        """Move a user's cursor to the point at which `paid` wei of the queue are paid."""
        (open_paid,) = self._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        left = paid - user.paid + int(open_paid)
        for number, _, _, input_fee, output_fee in self._queue(user.id, user.open_from):  # noqa: B007  (read after the loop)
            fee = input_fee + output_fee
            if left < fee:
                break
            left -= fee
        else:
            number = user.requests
        user.paid, user.open_from = paid, number
        self._db.execute(
            "UPDATE user SET paid = ?, open_from = ?, open_paid = ? WHERE id = ?",
            (str(paid), number, str(left), user.id),
        )

    # ------------------------------------------------------------------------------- by a person's decision

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
            "SELECT user_id, number FROM known WHERE hash = ?", (keyed(self._secret, request_hash),)
        ).fetchone()
        if found is None:
            raise CannotVoid(f"Request {name} is not recorded.", next_step="Give the id exactly as in the log.")
        user, number = self._by_id[found[0]], found[1]
        fee, start = self._place(user, number, name)
        self._check_free(user, start, fee, name)
        return Request(user.address, number, start, fee)

    def _place(self, user: UserState, number: int, name: str) -> tuple[int, int]:
        """The fee of a request that is neither void nor paid, and the wei of the queue that precede it."""
        if self._db.execute("SELECT 1 FROM void WHERE user_id = ? AND number = ?", (user.id, number)).fetchone():
            raise CannotVoid(f"Request {name} is already void.", next_step="Nothing to do: it is never charged.")
        (billed_before,) = self._db.execute(
            "SELECT billed_before FROM request WHERE user_id = ? AND number = ?", (user.id, number)
        ).fetchone()
        not_charged = sum(
            int(fee)
            for (fee,) in self._db.execute("SELECT fee FROM void WHERE user_id = ? AND number < ?", (user.id, number))
        )
        _, _, _, input_fee, output_fee = next(self._queue(user.id, number))
        fee, start = input_fee + output_fee, int(billed_before) - not_charged
        if number < user.open_from or start < user.paid:
            in_part = number >= user.open_from and user.paid < start + fee
            raise CannotVoid(
                f"Request {name} of {user.address} is paid{' in part' if in_part else ''}.",
                cause="A payment on chain cannot be reversed.",
                next_step="If the charge was wrong, pay the user back from the wallet.",
            )
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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._db.in_transaction:
            self.end_reading()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.commit()
        except BaseException:
            self._undo()
            raise


_New = tuple[tuple[object, ...], tuple[object, ...], tuple[object, ...] | None]
"""A new request: its rows for the tables request, known and, if it has its own fees, own_fee."""


@contextmanager
def open_journal(path: Path, identity: Identity, clock: Callable[[], float] = time.time) -> Iterator[Journal]:
    """The journal at `path`, made for its owner alone if there is none, migrated if it is of an earlier version.

    Raises JournalFailure if the file cannot be used, and JournalOfAnother if it does not belong to `identity`.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise JournalFailure(
            f"The journal {path} cannot be created.", cause=str(error), next_step="Choose another path with --journal."
        ) from error
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -65536")
            _prepare(connection, path, identity)
            yield _load(connection, path, clock)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


@contextmanager
def read_journal(path: Path) -> Iterator[Journal]:
    """Open the journal at `path` read-only, in its current state; a run may keep writing it.

    Raises JournalFailure if it does not exist or is of another version.
    """
    identity_of(path)
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("BEGIN")
            if _meta(connection).get("schema") != SCHEMA_VERSION:
                raise JournalFailure(
                    f"The journal {path} is of another version.",
                    next_step="Run serving settle once: it migrates the journal.",
                )
            yield _load(connection, path, time.time)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def identity_of(path: Path) -> Identity:
    """What the journal at `path` belongs to. Raises JournalFailure if it does not exist."""
    if not path.is_file():
        raise JournalFailure(
            f"There is no journal {path}.", next_step="Run serving settle first, or name the journal with --journal."
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = _meta(connection)
        return Identity(int(found["chain_id"]), found["genesis"], found["contract"], found["provider"])
    except (sqlite3.Error, KeyError, ValueError) as error:
        raise _unusable(path, error) from error


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal consistently, even while a run writes it. Does nothing if the source does not exist."""
    if not source.exists():
        return
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
    except sqlite3.Error as error:
        raise _unusable(source, error) from error


def _load(connection: sqlite3.Connection, path: Path, clock: Callable[[], float]) -> Journal:
    try:
        journal = Journal(connection, path, clock)
    except (TypeError, ValueError) as error:
        raise _unusable(path, error) from error
    _check_whole(connection, path)
    return journal


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Raises JournalFailure if users and requests are of different times.

    SQLite writes the -wal file that a killed run left into any journal beside it, also into an older one that was
    copied there. The mixture passes SQLite's own checks.
    """
    if connection.execute(
        "SELECT 1 FROM user u WHERE u.requests <>"
        " ifnull((SELECT max(r.number) + 1 FROM request r WHERE r.user_id = u.id), 0) LIMIT 1"
    ).fetchone():
        raise _unusable(path, ValueError("its parts do not belong together: was it restored beside an old -wal file?"))


def _unusable(path: Path, error: Exception) -> JournalFailure:
    return JournalFailure(
        f"The journal {path} cannot be used.",
        cause=str(error),
        next_step="If the disk is full, free space and run again. If the file is damaged, move it and its -wal and -shm"
        " files away, restore the newest backup, run serving settle, then serving settlement adopt: a backup lacks"
        " what was settled since.",
    )


def _prepare(connection: sqlite3.Connection, path: Path, identity: Identity) -> None:
    expected = {
        "chain_id": str(identity.chain_id),
        "genesis": identity.genesis,
        "contract": identity.contract,
        "provider": identity.provider,
    }
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            create(connection)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", expected.items())
        found = _meta(connection)
        _check_identity(path, found, expected)
        if found.get("schema") == "1":
            migrate_version_1(connection)
            found = _meta(connection)
    except (TypeError, ValueError) as error:
        connection.rollback()
        raise _unusable(path, error) from error
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    if found.get("schema") != SCHEMA_VERSION:
        raise JournalOfAnother(
            f"The journal {path} belongs to another version of this program.",
            cause=f"Its schema has version {found.get('schema')}, this program uses version {SCHEMA_VERSION}.",
            next_step="Use the newest version of this program.",
        )
    if not str(found.get("pass")).isdecimal() or not re.fullmatch("[0-9a-f]{64}", str(found.get("secret"))):
        raise _unusable(path, ValueError("its metadata is incomplete"))


def _meta(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def _check_identity(path: Path, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    for key, value in expected.items():
        if found.get(key) != value:
            raise JournalOfAnother(
                f"The journal {path} belongs to another {key.replace('_', ' ')}.",
                cause=f"It was created for {found.get(key)}; this run uses {value}.",
                next_step="Use a separate journal for this chain, contract and provider: --journal PATH.",
            )
