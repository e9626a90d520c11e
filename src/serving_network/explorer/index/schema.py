# SPDX-License-Identifier: Apache-2.0
"""The tables of an index. The SQL is limited to what SQLite and PostgreSQL share; see `serving_network.store.schema`.

A *position* is one number for the place of an event on the chain: the block's number times 2^20, plus the index of the
log in its block. Two kinds of tables have it:

- tables with `position` get one row for each event, or group of events, and are never changed;
- tables with `since` and `until` hold the versions of something that changes. `since` is the position of the event that
  made the version, `until` that of the event that ended it; it is NULL for the current version. What was deleted has
  versions, but no current one.

A reorganisation therefore removes every row above a position and reopens the versions that ended above it. Nothing else
has to be undone, at any depth; only `daily` and `total`, which are sums, are computed again.

| table | one row per |
|---|---|
| meta | fact about the index: its version, the network it belongs to, the last block it read, the last check |
| block | block with events |
| seen | recent block that was the last one of a step, to find the fork of a reorganisation |
| contract | contract that is followed: the ledger, services, and their beacons |
| tx | transaction with events |
| event | event of a followed contract |
| settlement | settled row of a batch, entry, or fine-tuning task |
| batch | call that settled rows of one provider together |
| ledger | version of a user's ledger |
| held | version of what a service without an account book holds for a user, as the ledger counts it |
| account | version of a user's account with a provider |
| stake | version of a provider's stake in a service |
| offer | version of what a provider registered in a service |
| deliverable | version of a fine-tuned model that was delivered |
| setting | version of a value of a contract: owner, lock_time, implementation and others |
| oddity | event that contradicts the others or cannot be decoded |
| daily | day, service and provider: what was settled |
| total | contract and kind of money or thing: the sum of all current versions |

Amounts in wei exceed 64 bits and are stored as decimal text. Addresses are stored with their checksum. `read_at` is the
block at which something was read that no event tells; NULL if everything in the row is from events and calldata.
"""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = "2"

TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE block (
    number BIGINT PRIMARY KEY,
    hash TEXT NOT NULL,
    time BIGINT NOT NULL                -- unix seconds
) WITHOUT ROWID;
CREATE TABLE seen (
    number BIGINT PRIMARY KEY,
    hash TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE contract (
    address TEXT PRIMARY KEY,
    role TEXT NOT NULL,                 -- ledger, service or beacon
    kind TEXT NOT NULL,                 -- of a service: inference, fine-tuning or other
    name TEXT NOT NULL,                 -- of a service: its full name; of a beacon: the name of its front
    front TEXT,                         -- of a beacon: the front that runs its implementation
    type TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,          -- at read_at
    since BIGINT NOT NULL,              -- the event that announced it; 0 for the ledger
    read_at BIGINT
) WITHOUT ROWID;
CREATE TABLE tx (
    hash TEXT PRIMARY KEY,
    position BIGINT NOT NULL UNIQUE,    -- of its first event
    sender TEXT NOT NULL,
    recipient TEXT,                     -- NULL if it created a contract
    value TEXT NOT NULL,                -- wei
    input BLOB NOT NULL,
    gas_used BIGINT,                    -- of transactions that settle
    gas_cost TEXT                       -- wei
) WITHOUT ROWID;
CREATE TABLE event (
    position BIGINT PRIMARY KEY,
    tx TEXT NOT NULL,
    contract TEXT NOT NULL,
    name TEXT NOT NULL,
    user_address TEXT,                  -- whom the event names as user, if any
    provider TEXT,
    args TEXT NOT NULL                  -- JSON
) WITHOUT ROWID;
CREATE TABLE settlement (
    position BIGINT PRIMARY KEY,        -- of the event with its result
    service TEXT NOT NULL,
    provider TEXT,                      -- NULL for an entry through a contract that paid nothing
    user_address TEXT NOT NULL,
    form TEXT NOT NULL,                 -- batch, entry or task
    batch BIGINT,                       -- the position of its batch; NULL for a task
    tx TEXT NOT NULL,
    status BIGINT NOT NULL,             -- of the wire format; for a task 0 if acknowledged, 1 for a penalty
    paid TEXT NOT NULL,                 -- wei
    fee TEXT,                           -- wei that were signed; NULL if called through a contract
    nonce TEXT,                         -- padded, so that it sorts
    requests_hash TEXT,                 -- of a batch's row or an entry
    deliverable_id TEXT,                -- of a task
    through_contract BIGINT NOT NULL    -- 1 if the calldata is not the transaction's input
) WITHOUT ROWID;
CREATE TABLE batch (
    position BIGINT PRIMARY KEY,        -- of its last event
    service TEXT NOT NULL,
    provider TEXT,
    form TEXT NOT NULL,                 -- batch or entries
    tx TEXT NOT NULL,
    size BIGINT NOT NULL,               -- rows
    accepted BIGINT NOT NULL,           -- rows with status 0 or 1
    paid TEXT NOT NULL,
    fee TEXT,                           -- the sum of the signed fees
    through_contract BIGINT NOT NULL
) WITHOUT ROWID;
CREATE TABLE ledger (
    user_address TEXT NOT NULL,
    available TEXT NOT NULL,
    info TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    read_at BIGINT,                     -- of info
    PRIMARY KEY (user_address, since)
) WITHOUT ROWID;
CREATE TABLE held (
    service TEXT NOT NULL,
    user_address TEXT NOT NULL,
    amount TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    PRIMARY KEY (service, user_address, since)
) WITHOUT ROWID;
CREATE TABLE account (
    service TEXT NOT NULL,
    user_address TEXT NOT NULL,
    provider TEXT NOT NULL,
    balance TEXT NOT NULL,
    pending TEXT NOT NULL,              -- the part that is being refunded
    refunds TEXT NOT NULL,              -- JSON: [[amount, unix seconds], ...], oldest first
    nonce TEXT,                         -- of the last accepted settlement whose nonce is known, padded
    acknowledged BIGINT NOT NULL,       -- whether the user accepts the provider's TEE signer
    penalised BIGINT NOT NULL,          -- fine-tuning: a penalty was charged and the user has not acted since
    info TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    read_at BIGINT,                     -- of acknowledged and penalised
    PRIMARY KEY (service, user_address, provider, since)
) WITHOUT ROWID;
CREATE TABLE stake (
    service TEXT NOT NULL,
    provider TEXT NOT NULL,
    amount TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    PRIMARY KEY (service, provider, since)
) WITHOUT ROWID;
CREATE TABLE offer (
    service TEXT NOT NULL,
    provider TEXT NOT NULL,
    url TEXT NOT NULL,
    input_price TEXT NOT NULL,          -- wei per token; of fine-tuning: its only price
    output_price TEXT,
    model TEXT NOT NULL,                -- of fine-tuning: its models, JSON
    details TEXT NOT NULL,              -- JSON: service_type and verifiability, or quota and occupied
    signer TEXT,                        -- the TEE signer; NULL if unknown
    confirmed BIGINT NOT NULL,          -- whether the owner confirmed the signer
    info TEXT,                          -- additionalInfo of inference
    since BIGINT NOT NULL,
    until BIGINT,
    read_at BIGINT,
    PRIMARY KEY (service, provider, since)
) WITHOUT ROWID;
CREATE TABLE deliverable (
    service TEXT NOT NULL,
    user_address TEXT NOT NULL,
    provider TEXT NOT NULL,
    deliverable_id TEXT NOT NULL,
    root_hash TEXT NOT NULL,            -- hexadecimal
    added_at BIGINT NOT NULL,           -- unix seconds
    state TEXT NOT NULL,                -- added, acknowledged, abandoned, settled or penalised
    paid TEXT,                          -- wei
    since BIGINT NOT NULL,
    until BIGINT,
    PRIMARY KEY (service, user_address, provider, deliverable_id, since)
) WITHOUT ROWID;
CREATE TABLE setting (
    contract TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT,
    read_at BIGINT,
    PRIMARY KEY (contract, name, since)
) WITHOUT ROWID;
CREATE TABLE oddity (
    position BIGINT NOT NULL,
    contract TEXT NOT NULL,
    tx TEXT NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (position, what)
) WITHOUT ROWID;
CREATE TABLE daily (
    day BIGINT NOT NULL,                -- days since 1970, UTC
    service TEXT NOT NULL,
    provider TEXT NOT NULL,
    settlements BIGINT NOT NULL,        -- accepted ones
    paid TEXT NOT NULL,
    PRIMARY KEY (day, service, provider)
) WITHOUT ROWID;
CREATE TABLE total (
    contract TEXT NOT NULL,
    name TEXT NOT NULL,                 -- available, ledgers, held, balances, pending, accounts, stakes, providers
    amount TEXT NOT NULL,
    PRIMARY KEY (contract, name)
) WITHOUT ROWID;
CREATE INDEX contract_name ON contract (name);
CREATE INDEX tx_sender ON tx (sender, position);
CREATE INDEX event_tx ON event (tx);
CREATE INDEX event_user ON event (user_address, position);
CREATE INDEX event_provider ON event (provider, position);
CREATE INDEX event_contract ON event (contract, position);
CREATE INDEX settlement_user ON settlement (user_address, position);
CREATE INDEX settlement_provider ON settlement (provider, position);
CREATE INDEX settlement_batch ON settlement (batch);
CREATE INDEX settlement_tx ON settlement (tx);
CREATE INDEX batch_provider ON batch (provider, position);
CREATE INDEX batch_tx ON batch (tx);
CREATE INDEX daily_provider ON daily (provider, day);
CREATE UNIQUE INDEX ledger_now ON ledger (user_address) WHERE until IS NULL;
CREATE UNIQUE INDEX held_now ON held (service, user_address) WHERE until IS NULL;
CREATE UNIQUE INDEX account_now ON account (user_address, service, provider) WHERE until IS NULL;
CREATE INDEX account_of_provider ON account (provider, service, user_address) WHERE until IS NULL;
CREATE UNIQUE INDEX stake_now ON stake (service, provider) WHERE until IS NULL;
CREATE UNIQUE INDEX offer_now ON offer (provider, service) WHERE until IS NULL;
CREATE UNIQUE INDEX deliverable_now ON deliverable (provider, user_address, service, deliverable_id)
    WHERE until IS NULL;
CREATE UNIQUE INDEX setting_now ON setting (contract, name) WHERE until IS NULL
"""

START: Final = {"block": "-1", "hash": "", "time": "0", "head": "-1", "looked_at": "0", "reorganisations": "0"}
"""The facts in `meta` of an index that has read nothing."""
VERSIONED: Final = ("ledger", "held", "account", "stake", "offer", "deliverable", "setting")
"""The tables with `since` and `until`."""
APPENDED: Final = ("tx", "event", "settlement", "batch", "oddity")
"""The tables with `position`."""
