# SPDX-License-Identifier: Apache-2.0
"""`make bench-explorer`: what each page costs on a network of 500 services, 10,000 users and 100,000 settlements.

The index is written by its schema into a temporary file. "First" is the first request after an event, for which sums
over the whole network are computed again; "then" is the median of the next requests. Both are milliseconds of processor
time of server and client together. The exit status is 1 if a page costs more than 200 ms, or is larger than 300 kB.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp

from serving_network.explorer.web.serving import served
from serving_network.explorer.web.site import Source
from tests.explorer.web.synthetic import HOSTILE, INFERENCE, PROVIDER, USER, Size, build

MOST_MILLISECONDS: Final = 200
MOST_BYTES: Final = 300_000
TURNS: Final = 5


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what each page of the explorer costs.")
    parser.add_argument("--index", type=Path, help="use this index, written by tests.explorer.web.synthetic")
    given = parser.parse_args().index
    with tempfile.TemporaryDirectory() as directory:
        index = given or Path(directory) / "index.sqlite"
        if given is None:
            build(index, Size(500, 10_000, 100_000))
        return asyncio.run(_measure(index))


def _paths(index: Path) -> list[str]:
    db = sqlite3.connect(index)
    ((batch, tx),) = db.execute("SELECT position, tx FROM batch ORDER BY position DESC LIMIT 1")
    db.close()
    return [
        "/", "/providers", "/providers?sort.providers=model", f"/provider/{PROVIDER}", f"/provider/{HOSTILE}", "/users",
        "/users?sort.users=-pending&page.users=200", f"/user/{USER}", "/settlements",
        "/settlements?sort.settlements=-paid&page.settlements=40", f"/settlement/{batch}", f"/transaction/{tx}",
        "/activity", "/activity?page.events=4000", "/owners", f"/contract/{INFERENCE}", "/search?q=llama",
        "/search?q=0x12",
    ]  # fmt: skip


async def _measure(index: Path) -> int:
    slow = False
    sys.stdout.write(f"{'page':<52} {'first ms':>9} {'then ms':>9} {'kB':>7}\n")
    async with served(Source(index, "large")) as url, aiohttp.ClientSession(url) as http:
        started = time.process_time()
        await _ask(http, "/users")
        warm = (time.process_time() - started) * 1_000
        for path in _paths(index):
            _happen(index)
            first, size = await _ask(http, path)
            then = median([(await _ask(http, path))[0] for _ in range(TURNS)])
            slow |= max(first, then) > MOST_MILLISECONDS or size > MOST_BYTES
            shown = path if len(path) <= 52 else f"{path[:49]}..."
            sys.stdout.write(f"{shown:<52} {first:>9.0f} {then:>9.0f} {size / 1_000:>7.0f}\n")
    sys.stdout.write(f"The first sums after the start took {warm:.0f} ms, once.\n")
    return int(slow)


def _happen(index: Path) -> None:
    """Add an event after all others, so that nothing that was computed holds any more."""
    db = sqlite3.connect(index)
    with db:
        db.execute(
            "INSERT INTO event SELECT position + 1, tx, contract, name, user_address, provider, args FROM event"
            " ORDER BY position DESC LIMIT 1"
        )
    db.close()


async def _ask(http: aiohttp.ClientSession, path: str) -> tuple[float, int]:
    """The processor time of a request, in milliseconds, and the size of the answer."""
    started = time.process_time()
    async with http.get(path) as answer:
        size = len(await answer.read())
    return (time.process_time() - started) * 1_000, size


if __name__ == "__main__":
    sys.exit(main())
