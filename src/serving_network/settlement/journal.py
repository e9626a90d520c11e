"""What a settlement run knows for certain, on disk, so that a kill at any moment costs nothing.

Per user the requests form a queue. What the chain paid for a user moves a cursor along that queue, the oldest
request first, and may end in the middle of a request; what lies behind the cursor is paid, what lies ahead is
open. So one number per user, the wei paid, tells the state of all its requests.

Order of writing (each step is one transaction of the database):

1. `record`: requests as they are read, each once. The fee is fixed here.
2. `add_batch`: the signed settlements together with the raw transaction that will carry them, *before* it is
   broadcast. From now on the users in it are not settled anew until its fate is known.
3. `add_transaction`: another transaction that carries the same signed settlements, again before it is
   broadcast: a replacement with a higher fee, or a new one where something else took the wallet's nonce. The
   contract takes a settlement's nonce once, so carrying it twice pays it once.
4. `finish_batch`: what each settlement really did, read from the chain; moves the cursors.

A kill between 2 and 4 leaves the batch open, with every transaction hash that could have taken effect.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from serving_network.errors import ServingError
from serving_network.settlement.pricing import Charge, Prices
from serving_network.settlement.typed_data import UserSettlement
from serving_network.settlement.usage import Reject, UsageRow

SCHEMA_VERSION: Final = "1"
_COMMIT_EVERY: Final = 200_000
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    requests INTEGER NOT NULL,          -- recorded so far; the next one gets this number
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    owed TEXT NOT NULL,                 -- wei of all recorded requests
    paid TEXT NOT NULL,                 -- wei that the chain paid for them
    open_from INTEGER NOT NULL,         -- the first request that is not fully paid
    open_paid TEXT NOT NULL,            -- wei of it that are paid
    last_nonce TEXT NOT NULL            -- of the newest settlement that was signed to be sent
);
CREATE TABLE request (
    user INTEGER NOT NULL,
    number INTEGER NOT NULL,            -- per user, from 0
    hash BLOB NOT NULL,
    spelling TEXT,                      -- request hash and address as the log spells them, where not the plain way
    time INTEGER NOT NULL,              -- microseconds since 1970
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    input_fee TEXT NOT NULL,
    output_fee TEXT NOT NULL,
    PRIMARY KEY (user, number)
) WITHOUT ROWID;
CREATE TABLE known (
    hash BLOB PRIMARY KEY,
    user INTEGER NOT NULL,
    number INTEGER NOT NULL,
    pass INTEGER NOT NULL               -- the last reading of a log that met it
) WITHOUT ROWID;
CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    form TEXT NOT NULL,                 -- 'entries' or 'batch'
    signer TEXT NOT NULL,
    signature BLOB NOT NULL,            -- over the whole batch; empty for entries
    from_block INTEGER NOT NULL,        -- the newest block when it was made
    state TEXT NOT NULL,                -- 'open', 'mined' or 'reverted'
    block_number INTEGER,
    block_hash TEXT,
    gas_used INTEGER,
    gas_cost TEXT
);
CREATE TABLE settlement (
    batch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    user INTEGER NOT NULL,
    fee TEXT NOT NULL,
    nonce TEXT NOT NULL,
    requests_hash BLOB NOT NULL,
    signature BLOB NOT NULL,
    requests INTEGER NOT NULL,
    expected_paid TEXT NOT NULL,        -- what the preview said
    status INTEGER,
    paid TEXT,
    PRIMARY KEY (batch, position)
) WITHOUT ROWID;
CREATE TABLE sent (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    raw BLOB NOT NULL,
    nonce INTEGER NOT NULL,             -- of the provider's wallet
    gas INTEGER NOT NULL,
    max_fee_per_gas TEXT NOT NULL,
    max_priority_fee_per_gas TEXT NOT NULL,
    legacy INTEGER NOT NULL
);
CREATE INDEX sent_batch ON sent (batch);
CREATE INDEX settlement_user ON settlement (user);
CREATE INDEX batch_state ON batch (state, block_number);
"""


class JournalFailure(ServingError):
    """The journal cannot be used: damaged, not writable, no space left, or of another version."""

    exit_code = 3


class JournalOfAnother(JournalFailure):
    """The journal belongs to another chain, contract or provider."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a journal belongs to. `genesis` is the hash of block 0, which tells two chains of one id apart."""

    chain_id: int
    genesis: str
    contract: str
    provider: str


@dataclass(slots=True)
class UserState:
    """One user's books with the provider, in wei. Open is what is recorded and not paid."""

    id: int
    address: str
    requests: int
    input_tokens: int
    output_tokens: int
    owed: int
    paid: int
    open_from: int
    last_nonce: int

    @property
    def open(self) -> int:
        return self.owed - self.paid

    @property
    def open_requests(self) -> int:
        return self.requests - self.open_from


class Recorded(NamedTuple):
    """What became of a run of rows: newly recorded, known from an earlier reading, and set aside."""

    new: int
    known: int
    rejects: list[Reject]


class Transaction(NamedTuple):
    """A signed transaction that may have been broadcast. `nonce` is the wallet's; fees are in wei per gas."""

    hash: str
    raw: bytes
    nonce: int
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    legacy: bool = False


class SignedRow(NamedTuple):
    """One user's settlement, ready to be sent. `signature` is empty where the batch is signed as a whole."""

    user: UserState
    settlement: UserSettlement
    signature: bytes
    requests: int
    expected_paid: int


class Outcome(NamedTuple):
    """What the contract did with one settlement: its status, and the wei it paid."""

    status: int
    paid: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Settlements that go together; `transactions` are all that may carry them to the chain, newest last."""

    id: int
    form: str
    signer: str
    signature: bytes
    from_block: int
    rows: tuple[SignedRow, ...]
    transactions: tuple[Transaction, ...]


class Mined(NamedTuple):
    """Where a batch took effect, and what the gas cost in wei."""

    block_number: int
    block_hash: str
    gas_used: int
    gas_cost: int


class Journal:
    """The journal of one provider on one chain. Use `open_journal`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._db = connection
        self._users: dict[str, UserState] = {}
        self._by_id: dict[int, UserState] = {}
        self._touched: set[str] = set()
        self._pass = 0
        self._uncommitted = 0
        self._load_users()

    def _load_users(self) -> None:
        for row in self._db.execute(
            "SELECT id, address, requests, input_tokens, output_tokens, owed, paid, open_from, last_nonce FROM user"
        ):
            number, address, requests, input_tokens, output_tokens, owed, paid, open_from, last_nonce = row
            self._users[address] = self._by_id[number] = UserState(
                number, address, requests, input_tokens, output_tokens, int(owed), int(paid), open_from, int(last_nonce)
            )

    # ---------------------------------------------------------------------------------------- recording

    def begin_reading(self) -> None:
        """Start reading a log: an id met twice from here on is a duplicate, one from before is known."""
        with self._transaction():
            row = self._db.execute("SELECT value FROM meta WHERE key = 'pass'").fetchone()
            self._pass = int(row[0]) + 1
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'pass'", (str(self._pass),))

    def record(self, rows: Sequence[UsageRow], prices: Prices) -> Recorded:
        """Record requests that were not recorded before, at these prices unless a row has its own fees.

        Durable at the latest after `end_reading`.
        """
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("SAVEPOINT chunk")
        before = {row.user: self._counts(row.user) for row in rows}
        made = [self._append(row, prices) for row in rows]
        changes = self._db.total_changes
        self._db.executemany("INSERT OR IGNORE INTO known VALUES (?, ?, ?, ?)", sorted(new[1] for new in made))
        if self._db.total_changes - changes == len(rows):
            self._db.executemany(
                "INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", sorted(new[0] for new in made)
            )
            recorded = Recorded(len(rows), 0, [])
        else:
            self._db.execute("ROLLBACK TO chunk")
            for address, counts in before.items():
                self._restore(address, counts)
            recorded = self._record_singly(rows, prices)
        self._db.execute("RELEASE chunk")
        self._uncommitted += len(rows)
        if self._uncommitted >= _COMMIT_EVERY:
            self.end_reading()
        return recorded

    def end_reading(self) -> None:
        """Make everything recorded so far durable."""
        self._db.executemany(
            "UPDATE user SET requests = ?, input_tokens = ?, output_tokens = ?, owed = ? WHERE id = ?",
            [
                (user.requests, user.input_tokens, user.output_tokens, str(user.owed), user.id)
                for user in map(self._users.__getitem__, self._touched)
            ],
        )
        self._touched.clear()
        self._uncommitted = 0
        self._db.commit()

    def _record_singly(self, rows: Sequence[UsageRow], prices: Prices) -> Recorded:
        new = known = 0
        rejects: list[Reject] = []
        for row in rows:
            found = self._db.execute(
                "SELECT k.pass, u.address, r.input_tokens, r.output_tokens, r.input_fee, r.output_fee FROM known k"
                " JOIN request r ON r.user = k.user AND r.number = k.number JOIN user u ON u.id = k.user"
                " WHERE k.hash = ?",
                (row.request_hash,),
            ).fetchone()
            if found is None:
                request, entry = self._append(row, prices)
                self._db.execute("INSERT INTO known VALUES (?, ?, ?, ?)", entry)
                self._db.execute("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", request)
                new += 1
                continue
            met, address, input_tokens, output_tokens, input_fee, output_fee = found
            if met == self._pass:
                rejects.append(Reject(row.line, f"duplicate request id {row.request_text}", ""))
            elif (address, input_tokens, output_tokens) != (row.user, row.input_tokens, row.output_tokens) or (
                row.fees is not None and row.fees != (int(input_fee), int(output_fee))
            ):
                rejects.append(
                    Reject(row.line, f"duplicate request id {row.request_text}, recorded before with other content", "")
                )
            else:
                self._db.execute("UPDATE known SET pass = ? WHERE hash = ?", (self._pass, row.request_hash))
                known += 1
        return Recorded(new, known, rejects)

    def _append(self, row: UsageRow, prices: Prices) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """A row's entries for `request` and `known`, with the user's counts moved on."""
        user = self._users.get(row.user) or self._add_user(row.user)
        input_fee, output_fee = row.fees or prices.fees(row.input_tokens, row.output_tokens)
        number = user.requests
        plain = row.user_text == row.user and row.request_text == "0x" + row.request_hash.hex()
        user.requests += 1
        user.input_tokens += row.input_tokens
        user.output_tokens += row.output_tokens
        user.owed += input_fee + output_fee
        self._touched.add(row.user)
        return (
            user.id,
            number,
            row.request_hash,
            None if plain else f"{row.request_text} {row.user_text}",
            row.time,
            row.input_tokens,
            row.output_tokens,
            str(input_fee),
            str(output_fee),
        ), (row.request_hash, user.id, number, self._pass)

    def _add_user(self, address: str) -> UserState:
        (number,) = self._db.execute(
            "INSERT INTO user VALUES (NULL, ?, 0, 0, 0, '0', '0', 0, '0', '0') RETURNING id", (address,)
        ).fetchone()
        user = UserState(number, address, 0, 0, 0, 0, 0, 0, 0)
        self._users[address] = self._by_id[number] = user
        return user

    def _counts(self, address: str) -> tuple[int, int, int, int] | None:
        user = self._users.get(address)
        return None if user is None else (user.requests, user.input_tokens, user.output_tokens, user.owed)

    def _restore(self, address: str, counts: tuple[int, int, int, int] | None) -> None:
        if counts is None:
            del self._by_id[self._users.pop(address).id]
            self._touched.discard(address)
        else:
            user = self._users[address]
            user.requests, user.input_tokens, user.output_tokens, user.owed = counts

    # ------------------------------------------------------------------------------------------ reading

    def users(self) -> list[UserState]:
        """Everybody who ever had a request recorded."""
        return list(self._users.values())

    def charges(self, user: UserState) -> Iterator[Charge]:
        """The open requests of one user, oldest first, each with what is still due."""
        (open_paid,) = self._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        already = int(open_paid)
        for request_hash, spelling, input_fee, output_fee in self._db.execute(
            "SELECT hash, spelling, input_fee, output_fee FROM request WHERE user = ? AND number >= ? ORDER BY number",
            (user.id, user.open_from),
        ):
            if spelling is None:
                request_text, user_text = "0x" + request_hash.hex(), user.address
            else:
                request_text, user_text = spelling.split(" ")
            charge = Charge(request_text, user_text, int(input_fee), int(output_fee))
            yield charge.less(already) if already else charge
            already = 0

    def open_tokens(self, user: UserState) -> tuple[int, int]:
        """The input and the output tokens of one user's open requests."""
        found: tuple[int, int] = self._db.execute(
            "SELECT ifnull(sum(input_tokens), 0), ifnull(sum(output_tokens), 0) FROM request"
            " WHERE user = ? AND number >= ?",
            (user.id, user.open_from),
        ).fetchone()
        return found

    def open_batches(self) -> list[Batch]:
        """Batches whose fate is not known, oldest first."""
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
            )
            for user, fee, nonce, requests_hash, row_signature, requests, expected_paid in self._db.execute(
                "SELECT user, fee, nonce, requests_hash, signature, requests, expected_paid FROM settlement"
                " WHERE batch = ? ORDER BY position",
                (number,),
            )
        )
        transactions = tuple(
            Transaction(hash_, raw, nonce, gas, int(fee), int(tip), bool(legacy))
            for hash_, raw, nonce, gas, fee, tip, legacy in self._db.execute(
                "SELECT hash, raw, nonce, gas, max_fee_per_gas, max_priority_fee_per_gas, legacy FROM sent"
                " WHERE batch = ? ORDER BY id",
                (number,),
            )
        )
        return Batch(number, form, signer, signature, from_block, rows, transactions)

    def mined_since(self, block_number: int) -> list[tuple[Batch, Mined]]:
        """Batches that took effect in this block or later, newest first."""
        found = self._db.execute(
            "SELECT id, block_number, block_hash, gas_used, gas_cost FROM batch"
            " WHERE state IN ('mined', 'reverted') AND block_number >= ? ORDER BY block_number DESC, id DESC",
            (block_number,),
        ).fetchall()
        return [(self.batch(row[0]), Mined(row[1], row[2], row[3], int(row[4]))) for row in found]

    def last_mined_block(self) -> int:
        """The newest block in which a batch of this journal took effect; 0 if none did."""
        (block,) = self._db.execute("SELECT max(block_number) FROM batch").fetchone()
        return block or 0

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
        """Write down a batch and the transaction that will carry it; broadcast only after this returned."""
        with self._transaction():
            (number,) = self._db.execute(
                "INSERT INTO batch (form, signer, signature, from_block, state)"
                " VALUES (?, ?, ?, ?, 'open') RETURNING id",
                (form, signer, signature, from_block),
            ).fetchone()
            self._db.executemany(
                "INSERT INTO settlement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                [
                    (
                        number,
                        position,
                        row.user.id,
                        str(row.settlement.total_fee),
                        str(row.settlement.nonce),
                        row.settlement.requests_hash,
                        row.signature,
                        row.requests,
                        str(row.expected_paid),
                    )
                    for position, row in enumerate(rows)
                ],
            )
            for row in rows:
                row.user.last_nonce = max(row.user.last_nonce, row.settlement.nonce)
            self._db.executemany(
                "UPDATE user SET last_nonce = ? WHERE id = ?", [(str(row.user.last_nonce), row.user.id) for row in rows]
            )
            self._add_transaction(number, transaction)
        return self.batch(number)

    def add_transaction(self, batch: Batch, transaction: Transaction) -> Batch:
        """Write down another transaction for a batch; broadcast only after this returned.

        One that was written down before becomes the newest: after a reorganisation the same nonce, and with it the
        very same transaction, may be the right one again.
        """
        with self._transaction():
            self._add_transaction(batch.id, transaction)
        return self.batch(batch.id)

    def _add_transaction(self, number: int, sent: Transaction) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO sent VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                sent.hash,
                sent.raw,
                sent.nonce,
                sent.gas,
                str(sent.max_fee_per_gas),
                str(sent.max_priority_fee_per_gas),
                sent.legacy,
            ),
        )

    def finish_batch(self, batch: Batch, outcomes: Sequence[Outcome], mined: Mined) -> None:
        """Book what a mined batch did. `outcomes` are in the order of its rows."""
        self._settle(batch, "mined", outcomes, mined)

    def revert_batch(self, batch: Batch, mined: Mined) -> None:
        """Book that a batch's transaction was mined and failed: nothing was paid, its requests are open again."""
        self._settle(batch, "reverted", (), mined)

    def reopen_batch(self, batch: Batch) -> None:
        """Take back what was booked for a batch, because its block is no longer part of the chain."""
        with self._transaction():
            self._unbook(batch.id)
            self._db.execute(
                "UPDATE batch SET state = 'open', block_number = NULL, block_hash = NULL, gas_used = NULL,"
                " gas_cost = NULL WHERE id = ?",
                (batch.id,),
            )
            self._db.execute("UPDATE settlement SET status = NULL, paid = NULL WHERE batch = ?", (batch.id,))

    def _settle(self, batch: Batch, state: str, outcomes: Sequence[Outcome], mined: Mined) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE batch SET state = ?, block_number = ?, block_hash = ?, gas_used = ?, gas_cost = ?"
                " WHERE id = ? AND state = 'open'",
                (state, mined.block_number, mined.block_hash, mined.gas_used, str(mined.gas_cost), batch.id),
            )
            for position, (row, outcome) in enumerate(zip(batch.rows, outcomes, strict=bool(outcomes))):
                self._db.execute(
                    "UPDATE settlement SET status = ?, paid = ? WHERE batch = ? AND position = ?",
                    (outcome.status, str(outcome.paid), batch.id, position),
                )
                if outcome.paid:
                    self._book(row.user, row.user.paid + outcome.paid)

    def _unbook(self, number: int) -> None:
        for user_id, paid in self._db.execute(
            "SELECT user, paid FROM settlement WHERE batch = ? AND paid IS NOT NULL", (number,)
        ).fetchall():
            user = self._by_id[user_id]
            user.open_from = 0
            self._db.execute("UPDATE user SET open_from = 0, open_paid = '0', paid = '0' WHERE id = ?", (user_id,))
            remaining, user.paid = user.paid - int(paid), 0
            self._book(user, remaining)

    def _book(self, user: UserState, paid: int) -> None:
        """Move a user's cursor to where `paid` wei of its queue are paid."""
        (open_paid,) = self._db.execute("SELECT open_paid FROM user WHERE id = ?", (user.id,)).fetchone()
        left = paid - user.paid + int(open_paid)
        number = user.open_from
        for number, input_fee, output_fee in self._db.execute(  # noqa: B007  (read after the loop)
            "SELECT number, input_fee, output_fee FROM request WHERE user = ? AND number >= ? ORDER BY number",
            (user.id, user.open_from),
        ):
            fee = int(input_fee) + int(output_fee)
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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._db.in_transaction:
            self.end_reading()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()


@contextmanager
def open_journal(path: Path, identity: Identity) -> Iterator[Journal]:
    """The journal at `path`, made if there is none. Any trouble with the file is a JournalFailure.

    Raises JournalOfAnother if the journal belongs to something else than `identity`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalFailure(
            f"The journal {path} cannot be made.", cause=str(error), next_step="Choose another place with --journal."
        ) from error
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -65536")
            _prepare(connection, path, identity)
            yield _load(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal as it is now, for a run that must leave no trace. Without a source there is no copy."""
    if not source.exists():
        return
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
    except sqlite3.Error as error:
        raise _unusable(source, error) from error


def _load(connection: sqlite3.Connection, path: Path) -> Journal:
    try:
        return Journal(connection, path)
    except (TypeError, ValueError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> JournalFailure:
    return JournalFailure(
        f"The journal {path} cannot be used.",
        cause=str(error),
        next_step="Free space or restore the file, then run again: what was sent before is found on chain.",
    )


def _prepare(connection: sqlite3.Connection, path: Path, identity: Identity) -> None:
    expected = {
        "schema": SCHEMA_VERSION,
        "chain_id": str(identity.chain_id),
        "genesis": identity.genesis,
        "contract": identity.contract,
        "provider": identity.provider,
    }
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            rows: Iterable[tuple[str, str]] = (expected | {"pass": "0"}).items()
            connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        found = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    if not str(found.get("pass")).isdecimal():
        raise _unusable(path, ValueError("it does not say how often a log was read"))
    for key, value in expected.items():
        if found.get(key) != value:
            raise JournalOfAnother(
                f"The journal {path} belongs to another {key.replace('_', ' ')}.",
                cause=f"It was made for {found.get(key)}, this run is for {value}.",
                next_step="Give this chain, contract and provider a journal of their own with --journal PATH.",
            )
