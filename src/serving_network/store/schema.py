"""The tables of the journal, and the migration from version 1.

The SQL is limited to what SQLite and PostgreSQL share, except for WITHOUT ROWID and the type BLOB (BYTEA in
PostgreSQL). Amounts in wei exceed 64 bits and are stored as decimal text. Settlement nonces are stored as text padded
to 20 digits, so that they sort numerically.

| table | one row per |
|---|---|
| meta | fact about the journal: its version, what it belongs to, its secret |
| user | user of the provider, with totals over the user's requests |
| price | price list that was in force when requests were recorded |
| request | request, numbered without gaps per user, with the wei billed before it |
| own_fee | request whose log row specified its fees |
| other_tokens | additional kind of tokens in a request, such as cached input |
| void | voided request, with the reason |
| known | recorded request hash, stored as a keyed 128-bit hash |
| reading | log, with the position up to which it was read |
| batch | group of signed settlements sent in one transaction |
| settlement | settlement of one user in a batch, and its result |
| sent | transaction of the wallet that carries or cancels a batch |

Request ids come from untrusted users. The hash in `known` is keyed with a secret of the journal, so that nobody can
construct a collision.
"""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from secrets import token_hex
from typing import Final

SCHEMA_VERSION: Final = "2"
NONCE_DIGITS: Final = 20

SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE user (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL UNIQUE,
    requests BIGINT NOT NULL,           -- number recorded so far, which is the number of the next one
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    owed TEXT NOT NULL,                 -- wei of all requests except void ones
    billed TEXT NOT NULL,               -- wei of all requests, including void ones
    paid TEXT NOT NULL,                 -- wei paid on chain
    open_from BIGINT NOT NULL,          -- the first request that is not fully paid
    open_paid TEXT NOT NULL             -- wei already paid of that request
);
CREATE TABLE price (
    id INTEGER PRIMARY KEY,
    input_price TEXT NOT NULL,          -- wei per token
    output_price TEXT NOT NULL,
    cached_input_divisor TEXT NOT NULL, -- cached input costs the input price divided by this
    since BIGINT NOT NULL               -- unix seconds of the first request recorded at these prices
);
CREATE TABLE request (
    user_id BIGINT NOT NULL,
    number BIGINT NOT NULL,             -- per user, from 0, without gaps
    hash BLOB NOT NULL,
    spelling TEXT,                      -- request hash and address as in the log, unless in canonical form
    time BIGINT NOT NULL,               -- microseconds since 1970
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    price_id BIGINT NOT NULL,
    billed_before TEXT NOT NULL,        -- wei of the user's earlier requests, including void ones
    PRIMARY KEY (user_id, number)
) WITHOUT ROWID;
CREATE TABLE own_fee (
    user_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    input_fee TEXT NOT NULL,
    output_fee TEXT NOT NULL,
    PRIMARY KEY (user_id, number)
) WITHOUT ROWID;
CREATE TABLE other_tokens (
    user_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (user_id, number, kind)
) WITHOUT ROWID;
CREATE TABLE void (
    user_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    fee TEXT NOT NULL,                  -- wei not charged
    time BIGINT NOT NULL,               -- unix seconds
    reason TEXT NOT NULL,
    PRIMARY KEY (user_id, number)
) WITHOUT ROWID;
CREATE TABLE known (
    hash BLOB PRIMARY KEY,              -- the request hash, hashed with the journal's secret to 128 bits
    user_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    pass BIGINT NOT NULL                -- the last reading of a log that contained it
) WITHOUT ROWID;
CREATE TABLE reading (
    log TEXT PRIMARY KEY,               -- the file's path
    file TEXT NOT NULL,                 -- identifies the file, should another one take its path
    byte_offset BIGINT NOT NULL,        -- end of what was read
    line BIGINT NOT NULL,
    header BLOB NOT NULL,               -- hash of the first line
    tail BLOB NOT NULL                  -- hash of the last block before the offset
) WITHOUT ROWID;
CREATE TABLE batch (
    id INTEGER PRIMARY KEY,
    form TEXT NOT NULL,                 -- 'entries', 'batch', or 'adopted' if another program sent it
    signer TEXT NOT NULL,
    signature BLOB NOT NULL,            -- of the whole batch; empty for entries
    from_block BIGINT NOT NULL,         -- the newest block when it was created
    state TEXT NOT NULL                 -- 'open', or 'ended' once none of its transactions can take effect
);
CREATE TABLE settlement (
    batch_id BIGINT NOT NULL,
    position BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    fee TEXT NOT NULL,
    nonce TEXT NOT NULL,
    requests_hash BLOB NOT NULL,
    signature BLOB NOT NULL,
    requests BIGINT NOT NULL,
    paid_before TEXT NOT NULL,          -- wei of the user's queue that precede it
    expected_paid TEXT NOT NULL,        -- wei paid according to the preview
    state TEXT NOT NULL,                -- 'signed', 'accepted', 'final' or 'dead': see journal.py
    status BIGINT,                      -- set by the transaction that accepted it, else by the last to refuse it
    paid TEXT,
    block_number BIGINT,                -- block that accepted it
    block_hash TEXT,
    transaction_hash TEXT,
    PRIMARY KEY (batch_id, position)
) WITHOUT ROWID;
CREATE TABLE sent (
    id INTEGER PRIMARY KEY,
    batch_id BIGINT NOT NULL,
    hash TEXT NOT NULL,
    raw BLOB NOT NULL,
    nonce BIGINT NOT NULL,              -- nonce of the provider's wallet
    gas BIGINT NOT NULL,
    max_fee_per_gas TEXT NOT NULL,
    max_priority_fee_per_gas TEXT NOT NULL,
    legacy BIGINT NOT NULL,
    purpose TEXT NOT NULL,              -- 'carry' for settlements, 'cancel' for an empty transaction
    made BIGINT NOT NULL,               -- creation, in unix seconds
    block_number BIGINT,                -- block in which it was mined
    block_hash TEXT,
    gas_used BIGINT,
    gas_cost TEXT,
    UNIQUE (batch_id, hash)
);
CREATE INDEX sent_hash ON sent (hash);
CREATE INDEX sent_block ON sent (block_number);
CREATE INDEX settlement_live ON settlement (user_id) WHERE state IN ('signed', 'accepted');
CREATE INDEX settlement_nonce ON settlement (user_id, nonce);
CREATE INDEX settlement_block ON settlement (block_number);
CREATE INDEX batch_open ON batch (id) WHERE state = 'open'
"""

_TABLES_OF_VERSION_1: Final = ("meta", "user", "request", "known", "batch", "settlement", "sent")
_INDEXES_OF_VERSION_1: Final = ("sent_batch", "settlement_user", "batch_state")


def create(connection: sqlite3.Connection) -> None:
    """Create the tables, inside the caller's transaction."""
    for statement in SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)", [("schema", SCHEMA_VERSION), ("pass", "0"), ("secret", token_hex(32))]
    )


def keyed(secret: str, request_hash: bytes) -> bytes:
    """The key in `known` for a 32-byte request hash: 16 bytes of keyed BLAKE2b."""
    return blake2b(request_hash, digest_size=16, key=bytes.fromhex(secret)).digest()


def padded(nonce: int) -> str:
    """A nonce as stored in its column."""
    return f"{nonce:0{NONCE_DIGITS}d}"


def migrate_version_1(connection: sqlite3.Connection) -> None:
    """Migrate the tables from version 1 to the current version, inside the caller's transaction.

    Version 1 stored one block and one gas figure per batch. The block is copied to every accepted row, so that it is
    still checked for reorganisations; both are copied to the batch's transaction if it has only one.
    Version 1 ended a batch with its first mined transaction, although its other transactions could still take effect.
    A batch stays ended if all its rows were accepted. A batch that reverted, or has a row that was not accepted, is
    reopened and followed until none of its transactions can take effect.
    """
    for name in _INDEXES_OF_VERSION_1:
        connection.execute(f"DROP INDEX {name}")
    for name in _TABLES_OF_VERSION_1:
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    create(connection)
    connection.execute("INSERT OR REPLACE INTO meta SELECT key, value FROM old_meta WHERE key <> 'schema'")
    connection.execute(
        "INSERT INTO user SELECT id, address, requests, input_tokens, output_tokens, owed, owed, paid, open_from,"
        " open_paid FROM old_user"
    )
    _move_requests(connection)
    _move_known(connection)
    _move_batches(connection)
    for name in _TABLES_OF_VERSION_1:
        connection.execute(f"DROP TABLE old_{name}")


def _move_requests(connection: sqlite3.Connection) -> None:
    """Version 1 stored a fee per request and no prices: every migrated request keeps its fees in own_fee."""
    connection.execute("INSERT INTO price VALUES (0, '0', '0', '1', 0)")
    before: dict[int, int] = {}
    requests: list[tuple[object, ...]] = []
    fees: list[tuple[object, ...]] = []
    for user, number, hash_, spelling, time, input_tokens, output_tokens, input_fee, output_fee in connection.execute(
        "SELECT user, number, hash, spelling, time, input_tokens, output_tokens, input_fee, output_fee FROM old_request"
        " ORDER BY user, number"
    ):
        billed = before.get(user, 0)
        requests.append((user, number, hash_, spelling, time, input_tokens, output_tokens, 0, str(billed)))
        fees.append((user, number, input_fee, output_fee))
        before[user] = billed + int(input_fee) + int(output_fee)
        if len(requests) == 10_000:
            _write_requests(connection, requests, fees)
    _write_requests(connection, requests, fees)


def _write_requests(
    connection: sqlite3.Connection, requests: list[tuple[object, ...]], fees: list[tuple[object, ...]]
) -> None:
    connection.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", requests)
    connection.executemany("INSERT INTO own_fee VALUES (?, ?, ?, ?)", fees)
    requests.clear()
    fees.clear()


def _move_known(connection: sqlite3.Connection) -> None:
    (secret,) = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
    connection.create_function("keyed", 1, lambda request_hash: keyed(secret, request_hash), deterministic=True)
    connection.execute("INSERT INTO known SELECT keyed(hash), user, number, pass FROM old_known")


def _move_batches(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO batch SELECT id, form, signer, signature, from_block, CASE WHEN state = 'mined' AND NOT EXISTS"
        " (SELECT 1 FROM old_settlement s WHERE s.batch = b.id AND ifnull(s.status, 9) > 1)"
        " THEN 'ended' ELSE 'open' END FROM old_batch b"
    )
    connection.execute(
        "INSERT INTO settlement SELECT s.batch, s.position, s.user, s.fee, substr(? || s.nonce, ?), s.requests_hash,"
        " s.signature, s.requests, '0', s.expected_paid, CASE WHEN s.status <= 1 THEN 'accepted' ELSE 'signed' END,"
        " s.status, CASE WHEN s.status <= 1 THEN s.paid END, CASE WHEN s.status <= 1 THEN b.block_number END,"
        " CASE WHEN s.status <= 1 THEN b.block_hash END, NULL"
        " FROM old_settlement s JOIN old_batch b ON b.id = s.batch",
        ("0" * NONCE_DIGITS, -NONCE_DIGITS),
    )
    connection.execute(
        "INSERT INTO sent SELECT s.id, s.batch, s.hash, s.raw, s.nonce, s.gas, s.max_fee_per_gas,"
        " s.max_priority_fee_per_gas, s.legacy, 'carry', 0, b.block_number, b.block_hash, b.gas_used, b.gas_cost"
        " FROM old_sent s LEFT JOIN old_batch b ON b.id = s.batch"
        " AND (SELECT count(*) FROM old_sent other WHERE other.batch = b.id) = 1"
    )
    _fill_paid_before(connection)


def _fill_paid_before(connection: sqlite3.Connection) -> None:
    """Set each settlement's start to what the settlements with lower nonces had paid of the user's queue."""
    paid: dict[int, int] = {}
    begun: dict[tuple[int, str], int] = {}
    for batch, position, user, nonce, amount in connection.execute(
        "SELECT batch_id, position, user_id, nonce, paid FROM settlement ORDER BY user_id, nonce, batch_id"
    ).fetchall():
        start = begun.setdefault((user, nonce), paid.get(user, 0))
        connection.execute(
            "UPDATE settlement SET paid_before = ? WHERE batch_id = ? AND position = ?", (str(start), batch, position)
        )
        paid[user] = paid.get(user, 0) + int(amount or 0)
