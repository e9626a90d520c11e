# SPDX-License-Identifier: Apache-2.0
"""The least that any program does for the same rows, in CPU seconds: parse them, insert them, hash them and sign."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from hashlib import blake2b
from importlib import import_module
from itertools import islice
from pathlib import Path

import coincurve
from eth_hash.auto import keccak

from benchmarks.settlement.work import refuse
from serving_network.usage_logs.reader import UsageLog

_ROWS_AT_ONCE = 10_000
_ROWS_PER_COMMIT = 200_000
_HASHED_BYTES = 66 + 42 + 3 * 15
"""What the requests hash covers of one row: two texts and three amounts."""


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def parsing(path: Path) -> float | None:
    """orjson parses each line; None if it is not installed."""
    try:
        orjson = import_module("orjson")
    except ImportError:
        return None
    with path.open("rb") as file:
        lines = file.read().split(b"\n")[:-1]
    return cpu_seconds(lambda: [None for line in lines if not orjson.loads(line)])


def inserting(path: Path, database: Path) -> float:
    """executemany inserts the rows as the journal stores them, in the same chunks and commits; they are ready-made."""
    spent = 0.0
    numbers: Counter[str] = Counter()
    ids: dict[str, int] = {}
    rows = UsageLog(path).rows(refuse)
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA cache_size = -65536")
        db.execute(
            "CREATE TABLE request (user_id BIGINT, number BIGINT, hash BLOB, spelling TEXT, time BIGINT, i BIGINT,"
            " o BIGINT, price_id BIGINT, PRIMARY KEY (user_id, number)) WITHOUT ROWID"
        )
        db.execute(
            "CREATE TABLE known (hash BLOB PRIMARY KEY, user_id BIGINT, number BIGINT, pass BIGINT) WITHOUT ROWID"
        )
        written = 0
        while chunk := list(islice(rows, _ROWS_AT_ONCE)):
            requests, known = [], []
            for row in chunk:
                user, number = ids.setdefault(row.user, len(ids) + 1), numbers[row.user]
                numbers[row.user] += 1
                values = row.request_hash, None, row.time, row.input_tokens, row.output_tokens, 1
                requests.append((user, number, *values))
                known.append((blake2b(row.request_hash, digest_size=16).digest(), user, number, 1))
            requests.sort()
            known.sort()
            started = time.process_time()
            if not written % _ROWS_PER_COMMIT:
                db.execute("BEGIN")
            db.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?, ?, ?)", requests)
            db.executemany("INSERT INTO known VALUES (?, ?, ?, ?)", known)
            written += len(chunk)
            if not written % _ROWS_PER_COMMIT:
                db.execute("COMMIT")
            spent += time.process_time() - started
        if db.in_transaction:
            spent += cpu_seconds(db.commit)
    return spent


def hashing_and_signing(rows: int, users: int) -> float:
    """keccak over as many bytes, and one signature of coincurve for each user."""
    text = bytes(_HASHED_BYTES * rows // users)
    key = coincurve.PrivateKey(b"\x07" * 32)

    def work() -> None:
        for _ in range(users):
            key.sign_recoverable(keccak(text), hasher=None)

    return cpu_seconds(work)
