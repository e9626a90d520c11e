# SPDX-License-Identifier: Apache-2.0
"""A chain and runs that settle on it, for tests that go step by step."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from serving_network.addresses import to_checksum_address
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalTeeSigner
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain, Pending
from tests.settlement.new_journals import put_new_journal

USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 5)]
ALICE, BOB, CAROL, DAVE = USERS
IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)
OPTIONS = Options(first_pause=0, patience=0, stuck_after=60, give_up_after=0.05, final_depth=5)
FINAL = 5
"""Blocks until everything before them is final."""


class Scene:
    """A chain, and runs that settle on it. Each user owes what was recorded, and nobody may pay more."""

    def __init__(self, directory: Path, *, batches: bool) -> None:
        self.chain = FakeChain(batches=batches)
        self.directory = directory
        self.lines: defaultdict[str, list[str]] = defaultdict(list)
        self.owed: dict[str, int] = {}
        put_new_journal(directory / "journal", IDENTITY)

    def record(self, user: str, fee: int, *, journal: str = "journal") -> None:
        """Write a request into a log."""
        lines = self.lines[journal]
        lines.append(f'{{"id": "{journal} {len(lines)}", "user": "{user}", "time": 1, "fee": {fee}}}\n')
        self.owed[user] = self.owed.get(user, 0) + fee

    def settle(self, options: Options = OPTIONS, signer: LocalTeeSigner = TEE, *, journal: str = "journal") -> Report:
        """One run; each `journal` has a log of its own."""
        path = self.directory / f"{journal}.jsonl"
        path.write_text("".join(self.lines[journal]))
        with self.journal(journal) as opened:
            run = Settlement(self.chain, opened, signer, options, clock=lambda: self.chain.now)
            report = asyncio.run(run.run(UsageLog(path, provider=PROVIDER)))
        self.chain.now += 1
        self.check()
        assert report.fee == report.paid + report.unsettled
        return report

    def journal(self, name: str = "journal") -> AbstractContextManager[Journal]:
        return open_journal(self.directory / name, IDENTITY, lambda: self.chain.now)

    def check(self) -> None:
        """Nobody has paid more than is owed."""
        for user, paid in self.chain.state.paid.items():
            assert paid <= self.owed[user], f"{user} owes {self.owed[user]} and paid {paid}"

    def mine(self, blocks: int = 1) -> None:
        """Mine what is in the pool, and empty blocks on top."""
        for _ in range(blocks):
            self.chain.mine()
        self.check()

    def lose(self) -> list[Pending]:
        """Take everything out of the pool; it may come back."""
        lost = list(self.chain.pool.values())
        self.chain.pool.clear()
        return lost

    def bring_back(self, *lost: Pending) -> None:
        self.chain.pool |= {sent.hash: sent for sent in lost}

    def signed(self, user: str) -> list[tuple[int, int, int, str]]:
        """All settlements that were signed for a user: nonce, fee, wei in front of it, and state."""
        rows = self.rows(
            "SELECT CAST(s.nonce AS INTEGER), CAST(s.fee AS INTEGER), CAST(s.paid_before AS INTEGER), s.state"
            " FROM settlement s JOIN user u ON u.id = s.user_id WHERE u.address = ? ORDER BY s.batch_id",
            user,
        )
        return [(nonce, fee, before, state) for nonce, fee, before, state in rows]

    def batches(self) -> list[str]:
        """The state of each batch."""
        return [state for (state,) in self.rows("SELECT state FROM batch ORDER BY id")]

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.directory / "journal")) as connection:
            return connection.execute(query, values).fetchall()

    def nonce(self, user: str) -> int:
        return self.chain.state.accounts[user].nonce

    def paid(self, user: str) -> int:
        return self.chain.state.paid.get(user, 0)

    def booked(self, user: str, *, journal: str = "journal") -> int:
        """What a journal says that a user has paid."""
        with self.journal(journal) as opened:
            found = opened.user(user)
            assert found is not None
            return found.paid

    def newest(self) -> list[Pending]:
        """The transactions of the newest block."""
        return [sent for sent, _ in self.chain.blocks[-1].transactions]

    def forget(self, nonce: int) -> None:
        """Let the wallet have used fewer nonces than it had."""
        self.chain.state.wallet_nonce = nonce
