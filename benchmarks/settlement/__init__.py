# SPDX-License-Identifier: Apache-2.0
"""Settling a usage log, from its rows to signed settlements: a million rows of 10,000 users, in CPU seconds.

    python -m benchmarks.settlement                        # --rows, --users, --format csv, --chain, --json

| figure | what is measured |
|---|---|
| read | reading and checking the log, and storing nothing |
| recorded | reading, pricing and writing to the journal |
| signed | recording, then hashing every user's open requests and signing a settlement for each |
| known again | the whole log a second time: every row is known |
| continued | the log a minute later: it has 1,000 more rows, and only these are read |
| journal | bytes on disk for each row |
| memory | peak resident size of the process that records and signs, less that of its imports |
| two processes | the time of two processes that record a log each, against that of one |
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from benchmarks.figures import Figure
from benchmarks.settlement import floors
from benchmarks.settlement.floors import cpu_seconds
from benchmarks.settlement.log import ROWS, USERS, write_log
from benchmarks.settlement.work import IDENTITY, read_all, record_all, sign_all
from serving_network.settlement.journal import open_journal

RECORDED_PER_SECOND = 60_000
SIGNED_PER_SECOND = 35_000
BYTES_PER_ROW = 110
MEBIBYTES = 160
TWO_PROCESSES = 2 / 1.7
_MORE_ROWS = 1_000


def measure(rows: int = ROWS, users: int = USERS, log_format: Literal["jsonl", "csv"] = "jsonl") -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / f"usage.{log_format}"
        write_log(path, rows, users, log_format)
        spawned = multiprocessing.get_context("spawn")
        with spawned.Pool(1) as pool:
            taken, sizes = pool.apply(_steps, (directory, path, rows))
        parsed = floors.parsing(path) if log_format == "jsonl" else None
        inserted = floors.inserting(path, directory / "floor")
        hashed = floors.hashing_and_signing(rows, users)
        both = _two_at_once(directory, path)

    def rate(name: str, seconds: float, floor: str, least: float | None, target: float | None = None) -> Figure:
        return Figure(
            name, rows / seconds, "rows/s", floor, None if least is None else rows / least, unit_target=target
        )

    recorded, everything = taken["recorded"], taken["recorded"] + taken["signed"]
    least = None if parsed is None else parsed + inserted
    return [
        rate("read", taken["read"], "orjson parses the lines", parsed),
        rate("recorded", recorded, "orjson and SQLite's executemany", least, RECORDED_PER_SECOND),
        rate(
            "signed",
            everything,
            "orjson, executemany, keccak and coincurve",
            None if least is None else least + hashed,
            SIGNED_PER_SECOND,
        ),
        rate("known again", taken["known again"], "recording them", recorded),
        Figure(
            f"continued, {_MORE_ROWS} rows more", taken["continued"], "s", "the log known again", taken["known again"]
        ),
        Figure("journal", sizes["journal"] / rows, "bytes/row", unit_target=BYTES_PER_ROW),
        Figure("memory", sizes["memory"], "MiB", unit_target=MEBIBYTES),
        Figure("two processes", both[1], "s", "one process with half the rows", both[0], TWO_PROCESSES),
    ]


def _steps(directory: Path, path: Path, rows: int) -> tuple[dict[str, float], dict[str, float]]:
    """The CPU seconds of each step, and the sizes, in a process of its own."""
    before = _resident()
    taken = {"read": cpu_seconds(lambda: read_all(path))}
    with open_journal(directory / "journal", IDENTITY) as journal:
        taken["recorded"] = cpu_seconds(lambda: record_all(journal, path))
        taken["signed"] = cpu_seconds(lambda: sign_all(journal))
        taken["known again"] = cpu_seconds(lambda: record_all(journal, path, reread=True))
        sizes = {"memory": _resident() - before}
        lines = path.read_text().splitlines(keepends=True)[-_MORE_ROWS:]
        with path.open("a") as log:
            log.writelines(line.replace("req-", "new-") for line in lines)
        taken["continued"] = cpu_seconds(lambda: _only(_MORE_ROWS, record_all(journal, path).new_requests))
    sizes["journal"] = (directory / "journal").stat().st_size * rows / (rows + _MORE_ROWS)
    return taken, sizes


def _only(expected: int, found: int) -> None:
    if found != expected:
        raise AssertionError(f"{found} new rows instead of {expected}")


def _two_at_once(directory: Path, path: Path) -> tuple[float, float]:
    """Wall seconds of one process that records the log, and of two that do so at once, each in its own journal."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_recorded, [])
        started = time.perf_counter()
        pool.apply(_recorded, (directory / "alone", path))
        alone = time.perf_counter() - started
        started = time.perf_counter()
        pool.starmap(_recorded, [(directory / "first", path), (directory / "second", path)], chunksize=1)
        return alone, time.perf_counter() - started


def _recorded(journal_path: Path, path: Path) -> None:
    with open_journal(journal_path, IDENTITY) as journal:
        record_all(journal, path)


def _resident() -> float:
    """The peak resident size so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024 * 1024)
