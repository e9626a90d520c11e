# SPDX-License-Identifier: Apache-2.0
"""A store of version 5 becomes one of version 6, in both dialects: each answer that is kept stays its request's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from serving_network.store.billing import Kept
from serving_network.store.intake import Intake
from serving_network.store.location import Location, PostgresStore
from serving_network.store.migration import migrate_version_2, migrate_version_3, migrate_version_4
from serving_network.store.opening import Identity, connected, meta_of
from serving_network.store.postgres import Postgres
from serving_network.store.schema import SCHEMA_VERSION, create_journal
from serving_network.store.sqlite import Sqlite, open_file
from serving_network.wallet.local import LocalTeeSigner

IDENTITY = Identity(31337, "0x", "0x" + "1" * 40, "0x" + "2" * 40)
FACTS = {"chain_id": "31337", "genesis": "0x", "contract": IDENTITY.contract, "provider": IDENTITY.provider}
SERVED = "INSERT INTO served VALUES (?, ?, 'u', ?, '0', 255, 'm', '1', '1', '1', '1', 1, 0, 1, 0, 0, 1000, ?, ?, ?, 1,"
NUMBERS = (3, 4, 9)


def store_of_version_5(location: Location) -> None:
    db: Sqlite | Postgres = Postgres(location.url) if isinstance(location, PostgresStore) else open_file(Path(location))
    with closing(db):
        db.begin()
        create_journal(db)
        for migrate in (migrate_version_2, migrate_version_3, migrate_version_4):
            migrate(db)
        db.executemany("INSERT INTO meta VALUES (?, ?)", FACTS.items())
        for number in NUMBERS:
            hashes = [bytes(32)] * 3
            values = (number, bytes([number]) * 32, number, *hashes)
            db.execute(SERVED + " NULL, 's', ?, ?, ?)", (*values, bytes(65), bytes(65), b""))
        kept = [(bytes([number]) * 32, 1000 + number, "text/plain", bytes([number])) for number in NUMBERS[:2]]
        db.executemany("INSERT INTO kept VALUES (?, ?, ?, ?)", reversed(kept))
        db.commit()


def test_version_5_keeps_its_answers(location: Location) -> None:
    store_of_version_5(location)
    with connected(location, IDENTITY) as db:
        assert meta_of(db)["schema"] == SCHEMA_VERSION
        rows = db.execute("SELECT number, until, content_type, body FROM kept ORDER BY number").fetchall()
        assert [tuple(one) for one in rows] == [(3, 1003, "text/plain", b"\3"), (4, 1004, "text/plain", b"\4")]
    intake = Intake(location, IDENTITY, LocalTeeSigner(bytes(31) + b"\1"))
    intake.open()
    try:
        assert intake.kept(b"\3" * 32, 1002) == Kept("text/plain", b"\3")
        assert intake.kept(b"\3" * 32, 1003) is None
        assert intake.kept(b"\x09" * 32, 1002) is None
    finally:
        intake.close()
