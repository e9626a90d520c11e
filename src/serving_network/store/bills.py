# SPDX-License-Identifier: Apache-2.0
"""A user's receipts from one provider, in an SQLite file of their own.

Receipts are kept as the provider sent them. If it signs two different ones for one sequence, both are kept: they prove
that it did.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from serving_network.errors import ConfigurationError
from serving_network.messages.receipts import InvalidReceipt, SignedReceipt, parse_receipt
from serving_network.store.sqlite import private_database
from serving_network.untrusted import parse_json, reason_of

_VERSION: Final = "1"
_WAIT_SECONDS: Final = 10
_MAX_SEQUENCE: Final = 2**63 - 1
"""The largest number that SQLite stores."""
_MAX_TIME: Final = 253_402_128_000
"""The end of the year 9999, less a day for time zones: later times have no date."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS receipt (
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,     -- of what was signed
    content TEXT NOT NULL,  -- JSON, as the provider sent it
    PRIMARY KEY (sequence, hash)
) WITHOUT ROWID
"""


class BillUnusable(ConfigurationError):
    """The file with a user's receipts is damaged, not writable, or of something else."""


@dataclass(frozen=True, slots=True)
class BillIdentity:
    """What a bill is about: the inference front `contract`, and both addresses with checksum."""

    chain_id: int
    contract: str
    provider: str
    user: str

    def owns(self, signed: SignedReceipt) -> bool:
        """Whether a receipt belongs to this bill."""
        receipt = signed.receipt
        return self == BillIdentity(signed.chain_id, signed.contract, receipt.provider, receipt.user)

    @property
    def file_name(self) -> str:
        """The name of the file with its receipts."""
        return f"{self.chain_id}-{self.contract}-{self.user}-{self.provider}.sqlite"


def check_storable(signed: SignedReceipt) -> None:
    """Check that a receipt has a sequence and a time that can be stored and shown. Raises InvalidReceipt."""
    receipt = signed.receipt
    if receipt.sequence > _MAX_SEQUENCE or receipt.time > _MAX_TIME:
        raise InvalidReceipt("The receipt's sequence or time is impossible.")


class BillStore:
    """The receipts of one bill. Use `open_bill`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    def add(self, receipts: Iterable[SignedReceipt]) -> int:
        """Keep these receipts, all or none. Returns how many are new. Raises InvalidReceipt."""
        receipts = list(receipts)
        for one in receipts:
            check_storable(one)
        before = self._db.total_changes
        with self._db:
            self._db.executemany(
                "INSERT OR IGNORE INTO receipt VALUES (?, ?, ?)",
                [(one.receipt.sequence, one.receipt.struct_hash(), json.dumps(one.as_json())) for one in receipts],
            )
        return self._db.total_changes - before

    def receipts(self) -> list[SignedReceipt]:
        """All receipts in the order of their sequence. Raises BillUnusable."""
        rows = self._db.execute("SELECT content FROM receipt ORDER BY sequence, hash")
        try:
            return [parse_receipt(parse_json(content)) for (content,) in rows]
        except (ValueError, InvalidReceipt) as error:
            raise _unusable(self._path, reason_of(error)) from error

    def complete_to(self) -> int:
        """The last sequence before the first gap; 0 if the first receipt is missing."""
        expected = 0
        for (sequence,) in self._db.execute("SELECT DISTINCT sequence FROM receipt ORDER BY sequence"):
            if sequence != expected + 1:
                break
            expected = sequence
        return expected

    def signer(self) -> str | None:
        """The TEE signer that this user trusts; None before the first answer."""
        found = self._db.execute("SELECT value FROM meta WHERE key = 'signer'").fetchone()
        return None if found is None else str(found[0])

    def trust(self, signer: str) -> None:
        """Trust this TEE signer from now on."""
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('signer', ?)", (signer,))


@contextmanager
def open_bill(path: Path, identity: BillIdentity) -> Iterator[BillStore]:
    """The bill at `path`, created if necessary. Raises BillUnusable."""
    try:
        private_database(path)
    except OSError as error:
        raise _unusable(path, reason_of(error)) from error
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS)) as connection:
            _prepare(connection, path, identity)
            yield BillStore(connection, path)
    except sqlite3.Error as error:
        raise _unusable(path, reason_of(error)) from error


def bills_in(directory: Path, chain_id: int, user: str) -> list[tuple[BillIdentity, Path]]:
    """The bills of a user on a chain, by their files."""
    found = []
    for path in sorted(directory.glob(f"{chain_id}-*-{user}-*.sqlite")):
        _, contract, _, provider = path.stem.split("-")
        found.append((BillIdentity(chain_id, contract, provider, user), path))
    return found


def _prepare(connection: sqlite3.Connection, path: Path, identity: BillIdentity) -> None:
    about = {"version": _VERSION} | {name: str(value) for name, value in asdict(identity).items()}
    with connection:
        for statement in _TABLES.split(";\n"):
            connection.execute(statement)
        connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", about.items())
    found = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if {name: found[name] for name in about} != about:
        raise _unusable(path, "It holds another bill, or one of another version of this program.")


def _unusable(path: Path, cause: str) -> BillUnusable:
    return BillUnusable(
        f"The bill {path} cannot be used.", cause=cause, next_step="Move it away, then fetch the receipts again."
    )
