# SPDX-License-Identifier: Apache-2.0
"""A run that is killed at random moments, over and over, on a real chain: in the end every wei is where it belongs.

    SETTLE_KILLS=500 SETTLE_SEED=7 pytest tests/settlement/test_killed.py

kills more often, at other moments. SETTLE_KILLS is the number of kills in all. They are shared among four tests, so
that they run on as many cores: the first draws its moments from SETTLE_SEED, the others from the numbers after it. A
kill is SIGKILL to a process of its own, while it reads, signs, writes, sends or waits. The log grows all the while, and
sometimes ends in the middle of a line.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.read.books import network_books
from serving_network.clients.read.network import AsyncNetwork
from serving_network.settlement.journal import open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.store.opening import Identity
from tests.settlement.processes import serve_chain, settle, settle_once
from tests.settlement.stage import COIN, PROVIDER, USERS

SHARES = 4
KILLS = -(-int(os.environ.get("SETTLE_KILLS", "60")) // SHARES)
FIRST_SEED = int(os.environ.get("SETTLE_SEED", "20261122"))
MOST_KILLS = 20 * KILLS
FUNDED, UNFUNDED = 12, 2
BLOCK_SECONDS = 0.1
PROCESSES = multiprocessing.get_context("forkserver")


@contextmanager
def chain_process(users: int, funds: int, block_time: float | None) -> Iterator[str]:
    """The URL of a chain in a process of its own."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=serve_chain, args=(theirs, users, funds, block_time))
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(60)
        process.kill()
        process.join()


class GrowingLog:
    """A provider's log that is written while it is settled, and the truth about what it says."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path = path
        self.owed: Counter[str] = Counter()
        self._chance = chance
        self._rows = 0
        self._rest = ""

    def grow(self) -> None:
        """Some more requests; the last one perhaps only in part, which the next call completes."""
        text = self._rest
        for _ in range(self._chance.randrange(20, 60)):
            user = self._chance.choice(USERS[: FUNDED + UNFUNDED]).address
            fee = self._chance.randrange(1, COIN // (SHARES * KILLS))
            self._rows += 1
            self.owed[user] += fee
            text += json.dumps({"id": f"r{self._rows}", "user": user, "time": self._rows, "fee": fee}) + "\n"
        cut = self._chance.choice([0, 0, 1, 9, 40])
        self._rest = text[len(text) - cut :] if cut else ""
        with self.path.open("a") as file:
            file.write(text[: len(text) - cut])

    def finish(self) -> None:
        with self.path.open("a") as file:
            file.write(self._rest)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SHARES))
def test_runs_killed_at_random_lose_and_double_no_wei(tmp_path: Path, seed: int) -> None:
    PROCESSES.set_forkserver_preload(["tests.settlement.processes"])
    chance = random.Random(seed)
    log = GrowingLog(tmp_path / "usage.jsonl", chance)
    options = Options(batch_rows=3, stuck_after=5, give_up_after=60, patience=2)
    with chain_process(FUNDED, COIN, BLOCK_SECONDS) as url:
        before = asyncio.run(provider_coins(url))
        log.grow()
        started = time.monotonic()
        assert run(url, tmp_path, log.path, options, kill_after=None) == 0
        whole_run = time.monotonic() - started
        kills = taken_up = 0
        while kills < KILLS or taken_up <= KILLS // 6:
            assert kills < MOST_KILLS, "the kills hardly ever hit a batch on its way: choose other moments"
            log.grow()
            started = time.monotonic()
            if run(url, tmp_path, log.path, options, chance.uniform(0, 1.1 * whole_run)) == -signal.SIGKILL:
                kills += 1
            else:
                whole_run = time.monotonic() - started  # what a run takes depends on what else the machine does
            taken_up += asyncio.run(waiting_batches(url, tmp_path))
        log.finish()
        patient = replace(options, patience=60)  # a busy machine may take long to mine what killed runs sent
        report = asyncio.run(settle(url, tmp_path, log.path, patient))
        assert report.stopped_by is None
        report = asyncio.run(settle(url, tmp_path, None, patient))
        assert (report.stopped_by, report.paid, report.taken_up_paid) == (None, 0, 0)
        assert asyncio.run(open_batches(url, tmp_path)) == 0
        paid = asyncio.run(compare(url, tmp_path, log))
        assert asyncio.run(provider_coins(url)) == before + paid


def run(url: str, directory: Path, log: Path, options: Options, kill_after: float | None) -> int | None:
    """One run in a process of its own; returns its exit code, -9 if it was killed."""
    process = PROCESSES.Process(target=settle_once, args=(url, directory, log, options))
    process.start()
    process.join(kill_after)
    if process.is_alive():
        process.kill()
    process.join()
    return process.exitcode


async def waiting_batches(url: str, directory: Path) -> int:
    """How many batches have a settlement that was not accepted."""
    async with await AsyncConnection.open(url) as connection:
        chain = await LiveChain.open(connection, PROVIDER)
        with open_journal(directory / "journal", await identity_of(chain)) as journal:
            return sum(not all(row.accepted for row in batch.rows) for batch in journal.open_batches())


async def open_batches(url: str, directory: Path) -> int:
    async with await AsyncConnection.open(url) as connection:
        chain = await LiveChain.open(connection, PROVIDER)
        with open_journal(directory / "journal", await identity_of(chain)) as journal:
            return len(journal.open_batches())


async def identity_of(chain: LiveChain) -> Identity:
    return Identity(chain.chain_id, await chain.block_hash(0) or "", chain.contract, chain.provider)


async def provider_coins(url: str) -> int:
    """The provider's coins, with what was spent on gas added back."""
    async with await AsyncConnection.open(url) as connection:
        coins = await connection.balance(PROVIDER.address)
        for number in range(await connection.block_number() + 1):
            block = await connection.rpc("eth_getBlockByNumber", [hex(number), True])
            for sent in block["transactions"]:
                if int(sent["from"], 16) == int(PROVIDER.address, 16):
                    receipt = await connection.receipt(sent["hash"])
                    assert receipt is not None
                    coins += receipt.cost
        return coins


async def compare(url: str, directory: Path, log: GrowingLog) -> int:
    """Hold the log, the chain's accounts, its events and the journal against each other; the wei paid in all."""
    async with await AsyncConnection.open(url) as connection:
        network = AsyncNetwork(connection)
        chain = await LiveChain.open(connection, PROVIDER)
        accounts = await network.accounts_with(PROVIDER.address, list(log.owed))
        events: Counter[str] = Counter()
        for event in await network.past_events():
            if event.name == "BatchRowSettled":
                events[event.args["user"]] += event.args["paid"]
        with open_journal(directory / "journal", await identity_of(chain)) as journal:
            users = {user.address: user for user in journal.users()}
        assert set(users) == set(log.owed)
        for user, owed in log.owed.items():
            held = accounts[user].balance if user in accounts else 0
            taken = COIN - held if user in accounts else 0
            assert taken == min(owed, COIN) * (user in accounts)
            assert users[user].owed == owed
            assert users[user].paid == taken == events[user]
        assert all(line.surplus == 0 for line in (await network_books(network)).lines)
        return sum(events.values())
