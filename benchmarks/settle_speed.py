# SPDX-License-Identifier: Apache-2.0
"""Measure the speed and the memory use of the Python side of a settlement run.

    python benchmarks/settle_speed.py                      a million rows of 10,000 users
    python benchmarks/settle_speed.py --rows 100000 --users 1000 --chain

| figure | what is measured |
|---|---|
| reading | parsing and checking the log, without storing it |
| recording | reading, pricing and writing to the journal |
| known again | the same log a second time: every row is known and nothing is written |
| hashing | computing the requests hash of every user's open requests from the journal |
| signing | one digest and signature for each settlement |
| log to signed batches | recording, hashing and signing together |
| batches | with --chain: a complete run against a chain in another process |

Memory is the peak resident size of the working process minus that of the imports alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TextIO

from eth_utils.address import to_checksum_address

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.user import AsyncUser
from serving_network.contracts.models import Offer
from serving_network.deployment.local import deploy_local_network
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.localchain.server import running_server
from serving_network.messages.prices import Prices, hash_requests
from serving_network.messages.typed_data import TEESettlement, UserSettlement
from serving_network.messages.usage import UsageRow
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import Format, UsageLog
from serving_network.wallet.local import LocalSigner, LocalTeeSigner

PROVIDER = to_checksum_address("0x" + "b2" * 20)
CONTRACT = to_checksum_address("0x" + "c3" * 20)
PRICES = Prices(2 * 10**13, 6 * 10**13)
TEE = LocalTeeSigner(b"\x07" * 32)
COIN = 10**18
CHUNK_ROWS = 10_000
SIGNATURES = 20_000


def write_log(file: TextIO, rows: int, users: int, log_format: Format) -> None:
    """A log with heavy and light users; the same every time."""
    chance = random.Random(1)  # noqa: S311 - the same every time
    addresses = [to_checksum_address(chance.randbytes(20)) for _ in range(users)]
    if log_format == "csv":
        file.write("request_id,user,time,input_tokens,output_tokens\n")
    for number in range(rows):
        user = addresses[number if number < users else int(users * chance.random() ** 2)]
        made = f"req-{number:010d}", user, 1_795_000_000 + number, chance.randrange(4000), chance.randrange(1000)
        if log_format == "csv":
            file.write("{},{},{},{},{}\n".format(*made))
        else:
            names = ("request_id", "user", "time", "input_tokens", "output_tokens")
            file.write(json.dumps(dict(zip(names, made, strict=True))) + "\n")


class Table:
    """Prints figures as they are measured and keeps them for --json."""

    def __init__(self, quiet: bool) -> None:
        self.figures: dict[str, float] = {}
        self._quiet = quiet

    def add(self, name: str, value: float, unit: str) -> None:
        self.figures[f"{name}, {unit}"] = round(value, 2)
        if not self._quiet:
            sys.stdout.write(f"{name:<28}{value:>14,.1f} {unit}\n")
            sys.stdout.flush()

    @contextmanager
    def rate(self, name: str, count: int, unit: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.add(name, count / (time.perf_counter() - started), unit)


def fail(row: object) -> None:
    """No row of the benchmark's log may be rejected."""
    raise AssertionError(row)


def record(journal: Journal, log: UsageLog) -> None:
    journal.begin_reading()
    chunk: list[UsageRow] = []
    for row in log.rows(fail):
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            journal.record(chunk, PRICES)
            chunk.clear()
    journal.record(chunk, PRICES)
    journal.end_reading()


def sign_all(journal: Journal) -> int:
    users = journal.users()
    for user in users:
        requests_hash, fee, _ = hash_requests(journal.charges(user))
        settlement = UserSettlement(user.address, fee, 1, requests_hash)
        TEE.sign_typed(TEESettlement(PROVIDER, settlement), 31337, CONTRACT)
    return len(users)


def resident() -> float:
    """The peak resident size so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform != "darwin" else 1024 * 1024)


def measure(table: Table, directory: Path, rows: int, users: int, log_format: Format) -> None:
    path = directory / f"usage.{log_format}"
    with path.open("w") as file:
        write_log(file, rows, users, log_format)
    log = UsageLog(path)
    before = resident()
    with table.rate("reading", rows, "rows/s"):
        for _ in log.rows(fail):
            pass
    with open_journal(directory / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as journal:
        started = time.perf_counter()
        with table.rate("recording", rows, "rows/s"):
            record(journal, log)
        with table.rate("hashing and signing", rows, "rows/s"):
            sign_all(journal)
        whole = time.perf_counter() - started
        table.add("log to signed batches", rows / whole, "rows/s")
        table.add("log to signed batches", whole, "s")
        with table.rate("known again", rows, "rows/s"):
            record(journal, log)
    table.add("memory", resident() - before, "MiB over the imports")
    table.add("journal", (directory / "journal").stat().st_size / 2**20, "MiB on disk")
    texts = [f"{number:064x}:{number:064x}" for number in range(SIGNATURES)]
    with table.rate("signing", SIGNATURES, "signatures/s"):
        for text in texts:
            TEE.sign_answer(text)


def serve(pipe: Pipe, users: list[LocalSigner]) -> None:
    """A chain with the network on it and all users funded, in a process of its own, until the pipe closes."""
    chain = EmbeddedChain()

    async def prepare() -> None:
        async with await AsyncConnection.open(chain) as connection:
            await prepare_network(connection, users)

    asyncio.run(prepare())
    with running_server(chain) as server:
        pipe.send(server.url)
        with suppress(EOFError):
            pipe.recv()


async def prepare_network(chain: AsyncConnection, users: list[LocalSigner]) -> None:
    owner, provider = (LocalSigner(development_keys()[number].to_bytes()) for number in (0, 1))
    await deploy_local_network(chain, owner)
    offer = Offer("chatbot", "https://p.example", "model", "TeeML", *PRICES[:2], "{}", to_checksum_address(TEE.address))
    await AsyncProvider(chain, provider).register(offer)
    await AsyncOwner(chain, owner).confirm(provider.address)
    for user in users:
        await chain.rpc("anvil_setBalance", [user.address, hex(100 * COIN)])
        acting = AsyncUser(chain, user, gas=400_000)
        await acting.open_ledger(4 * COIN)
        await acting.fund(provider.address, 2 * COIN)


async def settle_on_a_chain(table: Table, directory: Path, users: int) -> None:
    """Settle a log of `users` users against a chain in another process, in batches of 50 and as large as they go."""
    keys = [LocalSigner(number.to_bytes(32, "big")) for number in range(1000, 1000 + users)]
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs, keys), daemon=True)
    process.start()
    theirs.close()
    async with await AsyncConnection.open(ours.recv()) as connection:
        provider = LocalSigner(development_keys()[1].to_bytes())
        chain = await LiveChain.open(connection, provider)
        identity = Identity(chain.chain_id, await chain.block_hash(0) or "", chain.contract, chain.provider)
        for rows in (50, 200):
            log = directory / f"{rows}.jsonl"
            made = [{"id": f"{rows}-{key.address}", "user": key.address, "time": 1, "fee": 10**15} for key in keys]
            log.write_text("".join(json.dumps(row) + "\n" for row in made))
            with open_journal(directory / "chain-journal", identity) as journal:
                run = Settlement(chain, journal, TEE, Options(batch_rows=rows, first_pause=0.002))
                started = time.perf_counter()
                report = await run.run(UsageLog(log))
                took = time.perf_counter() - started
            table.add(f"batches of {rows}", report.batches / took, "batches/s")
            table.add(f"batches of {rows}", report.settlements / took, "users/s")
    ours.close()
    process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the Python side of settling.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--format", choices=["jsonl", "csv"], default="jsonl")
    parser.add_argument("--chain", action="store_true", help="also send batches to a chain in another process")
    parser.add_argument("--chain-users", type=int, default=200, help="how many users to settle with on it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    table = Table(given.json)
    with tempfile.TemporaryDirectory() as directory:
        measure(table, Path(directory), given.rows, given.users, given.format)
        if given.chain:
            asyncio.run(settle_on_a_chain(table, Path(directory), given.chain_users))
    if given.json:
        sys.stdout.write(json.dumps(table.figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
