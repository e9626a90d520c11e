# SPDX-License-Identifier: Apache-2.0
"""The migrations of a journal from earlier versions, each to the next one."""

from __future__ import annotations

from typing import Final

from serving_network.store.database import Database
from serving_network.store.schema import (
    NONCE_DIGITS,
    SET_FACT,
    create_gateways,
    create_intake,
    create_journal,
    drop_billed_before,
    hash_key,
    number_kept,
)

_TABLES_OF_VERSION_1: Final = ("meta", "user", "request", "known", "batch", "settlement", "sent")
_INDEXES_OF_VERSION_1: Final = ("sent_batch", "settlement_user", "batch_state")


def create(connection: Database) -> None:
    """Create all tables, inside the caller's transaction: those of version 2, and what each migration adds."""
    create_journal(connection)
    migrate(connection, "2")


def migrate(connection: Database, version: str | None) -> None:
    """Migrate the tables to the current version, inside the caller's transaction. Other versions are left alone."""
    if version == "1":
        migrate_version_1(connection)
    if version in ("1", "2"):
        migrate_version_2(connection)
    if version in ("1", "2", "3"):
        migrate_version_3(connection)
    if version in ("1", "2", "3", "4"):
        migrate_version_4(connection)
    if version in ("1", "2", "3", "4", "5"):
        migrate_version_5(connection)


def migrate_version_5(connection: Database) -> None:
    """Migrate from version 5 to 6, in which an answer that is kept has the number of its row in served."""
    number_kept(connection)
    connection.execute("UPDATE meta SET value = '6' WHERE key = 'schema'")


def migrate_version_4(connection: Database) -> None:
    """Migrate from version 4 to 5, which stores no sum with each request: a sixth of the journal's size."""
    drop_billed_before(connection)
    connection.execute("UPDATE meta SET value = '5' WHERE key = 'schema'")


def migrate_version_2(connection: Database) -> None:
    """Migrate from version 2 to 3, which added the tables of a gateway and changed no other."""
    create_intake(connection)
    connection.execute("UPDATE meta SET value = '3' WHERE key = 'schema'")


def migrate_version_3(connection: Database) -> None:
    """Migrate from version 3 to 4, which counts what is taken of each user by sequence, and admits several gateways."""
    create_gateways(connection)
    connection.execute(
        "UPDATE account SET taken_to = coalesce((SELECT max(s.sequence) FROM served s WHERE s.address = account.address"
        " AND s.number <= (SELECT CAST(value AS BIGINT) FROM meta WHERE key = 'taken')), 0)"
    )
    connection.execute("DELETE FROM meta WHERE key = 'taken'")
    connection.execute("UPDATE meta SET value = '4' WHERE key = 'schema'")


def migrate_version_1(connection: Database) -> None:
    """Migrate the tables from version 1 to 2, inside the caller's transaction.

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


def _write_requests(connection: Database, requests: list[tuple[object, ...]], fees: list[tuple[object, ...]]) -> None:
    connection.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", requests)
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
