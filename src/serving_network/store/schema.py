# SPDX-License-Identifier: Apache-2.0
"""The tables of a provider's store: the journal of settlements, and what a gateway served.

The SQL is limited to what SQLite and PostgreSQL share; `postgres.py` translates the few words that differ. Amounts
in wei exceed 64 bits and are stored as decimal text. Settlement nonces are stored as text padded to 20 digits, so that
they sort numerically.

| table | one row per |
|---|---|
| meta | fact about the journal: its version, what it belongs to, its secret |
| user | user of the provider, with totals over the user's requests |
| price | price list that was in force when requests were recorded |
| request | request, numbered without gaps per user |
| own_fee | request whose log row specified its fees |
| other_tokens | additional kind of tokens in a request, such as cached input |
| void | voided request, with the reason |
| known | recorded request hash, stored as a keyed 128-bit hash |
| reading | log, with the position up to which it was read |
| batch | group of signed settlements sent in one transaction |
| settlement | settlement of one user in a batch, and its result |
| sent | transaction of the wallet that carries or cancels a batch |
| account | user of the gateway: what is billed, and the balance on chain with the block it was read at |
| begun | stream that the gateway has not finished, with what was delivered of it so far |
| served | request that the gateway served, with its receipt; rows are only appended |
| kept | answer that its user can fetch again for some minutes |
| gateway | gateway that shares a PostgreSQL store with others |
| lease | user and gateway: the part of the user's free money that only this gateway reserves |

Gateways append to `served`. A settlement run takes the rows of each user into the queue in the order of their sequence:
`account.taken` is what it took of a user, `account.taken_to` the last sequence. `served.number` is no such order, since
several gateways commit at once.

Request ids come from untrusted users. The hash in `known` is keyed with a secret of the journal, so that nobody can
construct a collision.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from secrets import token_hex
from typing import Final

from serving_network.store.database import Database

SCHEMA_VERSION: Final = "6"
NONCE_DIGITS: Final = 20
SET_FACT: Final = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
"""Writes an entry of `meta`."""
MOVED: Final = "moved_to"
"""The entry of `meta` that names the database into which a file was moved."""

_JOURNAL: Final = """
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
    state TEXT NOT NULL,                -- 'signed', 'accepted', 'final' or 'dead': see journal/bookings.py
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
_INTAKE: Final = """
CREATE TABLE account (
    address TEXT PRIMARY KEY,
    requests BIGINT NOT NULL,           -- the sequence of the newest receipt
    billed TEXT NOT NULL,               -- wei of all served requests
    taken TEXT NOT NULL,                -- wei of those that settlement runs took into the queue
    balance TEXT NOT NULL,              -- wei on chain
    pending_refund TEXT NOT NULL,       -- wei of the balance that the user asked back
    nonce TEXT NOT NULL,                -- of the last settlement that the contract accepted
    block_number BIGINT NOT NULL,       -- the block at which the three were so; -1 if they were never read
    taken_to BIGINT NOT NULL DEFAULT 0  -- the sequence of the last of the taken rows
) WITHOUT ROWID;
CREATE TABLE begun (
    id BLOB PRIMARY KEY,
    address TEXT NOT NULL,
    token_id BIGINT NOT NULL,
    model TEXT NOT NULL,
    input_price TEXT NOT NULL,
    output_price TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    answer_hash BLOB NOT NULL,          -- of what was delivered at the last checkpoint
    length BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    input_fee TEXT NOT NULL,
    output_fee TEXT NOT NULL,
    time BIGINT NOT NULL,               -- unix seconds of the last checkpoint
    gateway TEXT NOT NULL DEFAULT ''    -- the gateway that serves it
) WITHOUT ROWID;
CREATE TABLE served (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,            -- SHA-256 of ZG-Res-Key
    address TEXT NOT NULL,
    sequence BIGINT NOT NULL,           -- per user, from 1, without gaps
    billed_before TEXT NOT NULL,        -- wei of the user's earlier rows
    token_id BIGINT NOT NULL,
    model TEXT NOT NULL,
    input_fee TEXT NOT NULL,
    output_fee TEXT NOT NULL,
    input_price TEXT NOT NULL,
    output_price TEXT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    source BIGINT NOT NULL,
    ending BIGINT NOT NULL,
    time BIGINT NOT NULL,               -- unix seconds
    salt BLOB NOT NULL,
    request_hash BLOB NOT NULL,
    answer_hash BLOB NOT NULL,
    length BIGINT NOT NULL,             -- bytes of the delivered answer
    upstream_id TEXT,                   -- the model server's own id of the answer
    signer TEXT NOT NULL,
    receipt_signature BLOB NOT NULL,
    answer_signature BLOB NOT NULL,
    images BLOB NOT NULL,               -- SHA-256 of each image, which the signature of the answer is over
    UNIQUE (address, sequence)
);
CREATE INDEX served_upstream ON served (address, upstream_id)
"""
_KEPT: Final = """
CREATE TABLE kept (
    number INTEGER PRIMARY KEY,         -- of its row in served, so that answers are appended
    until BIGINT NOT NULL,              -- unix seconds
    content_type TEXT NOT NULL,
    body BLOB NOT NULL
)
"""
_GATEWAYS: Final = """
CREATE TABLE gateway (
    id TEXT PRIMARY KEY,
    session TEXT NOT NULL,              -- of its current process
    until BIGINT NOT NULL               -- unix seconds of the server: after that, another gateway may take over
) WITHOUT ROWID;
CREATE TABLE lease (
    gateway TEXT NOT NULL,
    address TEXT NOT NULL,
    wei TEXT NOT NULL,                  -- what this gateway may reserve for requests of the user
    PRIMARY KEY (address, gateway)
) WITHOUT ROWID;
CREATE INDEX begun_gateway ON begun (gateway);
CREATE INDEX lease_gateway ON lease (gateway)
"""


TABLES: Final = tuple(re.findall(r"CREATE TABLE (\w+)", _JOURNAL + _INTAKE + _KEPT + _GATEWAYS))


def create_journal(db: Database) -> None:
    """Create the tables of settlements, with the version of the schema, inside the caller's transaction."""
    _execute(db, _JOURNAL)
    facts = [("schema", SCHEMA_VERSION), ("pass", "0"), ("secret", token_hex(32))]
    db.executemany("INSERT INTO meta VALUES (?, ?)", facts)


def create_intake(db: Database) -> None:
    """Create the tables of what a gateway serves, inside the caller's transaction."""
    _execute(db, _INTAKE)
    create_kept(db)


def create_kept(db: Database) -> None:
    """Create the table of kept answers, inside the caller's transaction."""
    _execute(db, _KEPT)


def create_gateways(db: Database) -> None:
    """Create the tables of several gateways, inside the caller's transaction."""
    _execute(db, _GATEWAYS)


def _execute(db: Database, script: str) -> None:
    for statement in script.split(";\n"):
        db.create(statement)


def hash_key(secret: str) -> Callable[[bytes], bytes]:
    """What gives the key in `known` for a 32-byte request hash: 16 bytes of keyed BLAKE2b."""
    begun = blake2b(digest_size=16, key=bytes.fromhex(secret))

    def key_of(request_hash: bytes) -> bytes:
        hasher = begun.copy()
        hasher.update(request_hash)
        return hasher.digest()

    return key_of


def padded(nonce: int) -> str:
    """A nonce as stored in its column."""
    return f"{nonce:0{NONCE_DIGITS}d}"
