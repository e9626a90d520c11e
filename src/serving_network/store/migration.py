# SPDX-License-Identifier: Apache-2.0
"""The tables of a new journal, and the migrations from earlier versions."""

from __future__ import annotations

from typing import Final

from serving_network.store.database import Database
from serving_network.store.schema import (
    NONCE_DIGITS,
    SCHEMA_VERSION,
    SET_FACT,
    create_gateways,
    create_intake,
    create_journal,
    create_kept,
    hash_key,
)

_EARLIER_VERSIONS: Final = ("1", "2", "3", "4", "5")
_TABLES_OF_VERSION_1: Final = ("meta", "user", "request", "known", "batch", "settlement", "sent")
_INDEXES_OF_VERSION_1: Final = ("sent_batch", "settlement_user", "batch_state")


def create(connection: Database) -> None:
    """Create all tables, inside the caller's transaction."""
    create_journal(connection)
    create_intake(connection)
    create_gateways(connection)


def migrate(connection: Database, version: str | None) -> None:
    """Migrate the tables to the current version, inside the caller's transaction. Other versions are left alone."""
    if version not in _EARLIER_VERSIONS:
        return
    if version == "1":
        replace_tables_of_version_1(connection)
    elif version != "5":
        drop_sums_of_requests(connection)
    if version in ("1", "2"):
        create_intake(connection)
    else:
        number_kept_answers(connection)
    if version == "3":
        add_columns_of_gateways(connection)
    if version in ("1", "2", "3"):
        create_gateways(connection)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (SCHEMA_VERSION,))


def drop_sums_of_requests(connection: Database) -> None:
    """Version 5 computes the sum in front of a request from the user's cursor: it took a sixth of the journal."""
    connection.create("ALTER TABLE request DROP COLUMN billed_before")


def number_kept_answers(connection: Database) -> None:
    """Version 6 keys a kept answer by the number of its row in `served`. An id is random, so that each answer took a
    page of its own."""
    connection.execute("ALTER TABLE kept RENAME TO old_kept")
    connection.execute("DROP INDEX kept_until")
    create_kept(connection)
    connection.execute(
        "INSERT INTO kept SELECT s.number, o.until, o.content_type, o.body FROM old_kept o JOIN served s ON s.id = o.id"
    )
    connection.execute("DROP TABLE old_kept")


def add_columns_of_gateways(connection: Database) -> None:
    """Version 4 counts what is taken of each user by sequence, and admits several gateways."""
    connection.create("ALTER TABLE account ADD COLUMN taken_to BIGINT NOT NULL DEFAULT 0")
    connection.create("ALTER TABLE begun ADD COLUMN gateway TEXT NOT NULL DEFAULT ''")
    connection.execute(
        "UPDATE account SET taken_to = coalesce((SELECT max(s.sequence) FROM served s WHERE s.address = account.address"
        " AND s.number <= (SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'taken')), 0)"
    )
    connection.execute("DELETE FROM meta WHERE key = 'taken'")


def replace_tables_of_version_1(connection: Database) -> None:
    """Create the tables of settlements in place of those of version 1, and move their rows.

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
    create_journal(connection)
    connection.executemany(
        SET_FACT, connection.execute("SELECT key, value FROM old_meta WHERE key <> 'schema'").fetchall()
    )
    connection.execute(
        "INSERT INTO user SELECT id, address, requests, input_tokens, output_tokens, owed, owed, paid, open_from,"
        " open_paid FROM old_user"
    )
    _move_requests(connection)
    _move_known(connection)
    _move_batches(connection)
    for name in _TABLES_OF_VERSION_1:
        connection.execute(f"DROP TABLE old_{name}")


def _move_requests(connection: Database) -> None:
    """Version 1 stored a fee per request and no prices: every migrated request keeps its fees in own_fee."""
    connection.execute("INSERT INTO price VALUES (0, '0', '0', '1', 0)")
    requests: list[tuple[object, ...]] = []
    fees: list[tuple[object, ...]] = []
    for user, number, hash_, spelling, time, input_tokens, output_tokens, input_fee, output_fee in connection.execute(
        "SELECT user, number, hash, spelling, time, input_tokens, output_tokens, input_fee, output_fee FROM old_request"
        " ORDER BY user, number"
    ):
        requests.append((user, number, hash_, spelling, time, input_tokens, output_tokens, 0))
        fees.append((user, number, str(int(input_fee)), str(int(output_fee))))
        if len(requests) == 10_000:
            _write_requests(connection, requests, fees)
    _write_requests(connection, requests, fees)


def _write_requests(connection: Database, requests: list[tuple[object, ...]], fees: list[tuple[object, ...]]) -> None:
    connection.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?)", requests)
    connection.executemany("INSERT INTO own_fee VALUES (?, ?, ?, ?)", fees)
    requests.clear()
    fees.clear()


def _move_known(connection: Database) -> None:
    (secret,) = connection.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
    key_of = hash_key(secret)
    known = connection.execute("SELECT hash, user, number, pass FROM old_known")
    connection.executemany(
        "INSERT INTO known VALUES (?, ?, ?, ?)",
        ((key_of(request_hash), user, number, met) for request_hash, user, number, met in known),
    )


def _move_batches(connection: Database) -> None:
    connection.execute(
        "INSERT INTO batch SELECT id, form, signer, signature, from_block, CASE WHEN state = 'mined' AND NOT EXISTS"
        " (SELECT 1 FROM old_settlement s WHERE s.batch = b.id AND coalesce(s.status, 9) > 1)"
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


def _fill_paid_before(connection: Database) -> None:
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
