# SPDX-License-Identifier: Apache-2.0
"""Random histories of a provider's settlements: nobody ever pays a wei too much, and no wei is lost.

    python -m tests.settlement.histories --count 20000 --seed 1 --workers 2

A history is a growing log and runs that settle it, on an in-memory chain (`fake_chain`). Between and during the runs,
anything can happen: kills, timeouts before and after a call takes effect, lost transactions that come back, unknown
transactions of the wallet, failing transactions, missing receipts, reorganisations of up to 8 blocks, a TEE signer that
is changed or revoked, users who run out of funds, top up, withdraw or close their accounts, and journals that are
restored from an older copy. Each history uses only some kinds of events, chosen by its seed.

After every event, no user has paid more than recorded in the log so far. At the end, once the faults stop and all users
have funds, every user has paid exactly that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

from serving_network.addresses import to_checksum_address
from serving_network.errors import NodeUnreachable, ServingError
from serving_network.settlement import following, sending
from serving_network.settlement.adopting import Covers, adopt
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.journal.records import UserState
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity, copy_journal
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalTeeSigner
from tests.settlement.fake_chain import CONTRACT, PROVIDER, TEE, FakeChain, Pending
from tests.settlement.new_journals import put_new_journal

USERS: list[str] = [to_checksum_address(bytes([number]) * 20) for number in range(1, 8)]
IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)
OTHER_TEE = LocalTeeSigner(b"\x08" * 32)
DEEPEST_REORGANISATION = 8
RICH = 10_000
EVENTS = (
    "mine", "rest", "pool", "lose", "come back", "reorganise", "foreign", "hide", "fail", "signer", "fund", "take",
    "fees",
)  # fmt: skip
LAST_RUNS = 60
"""The number of runs in which a history must settle everything once nothing goes wrong any more."""


class Ticks:
    """A clock that advances by one second whenever it is read, so that a history depends only on its seed."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


class Killed(BaseException):
    """Ends a run immediately, like kill -9."""


class Charged(AssertionError):
    """A user paid more than recorded, or less at the end."""


@dataclass
class History:
    """One history, generated from its seed. `directory` must be empty and used by no other history."""

    seed: int
    directory: Path
    chance: random.Random = field(init=False)
    chain: FakeChain = field(init=False)
    options: Options = field(init=False)
    owed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))
    lines: list[str] = field(default_factory=list)
    lost: list[Pending] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    highest: int = 0
    fault_rate: float = 0
    calm: bool = False

    def __post_init__(self) -> None:
        chance = self.chance = random.Random(self.seed)
        self.chain = FakeChain(batches=chance.random() < 0.5)
        self.options = Options(
            first_pause=0,
            patience=chance.choice([0, 0, 4]),
            give_up_after=20,
            stuck_after=chance.choice([0, 4]),
            confirmations=chance.choice([1, 1, 2, 3]),
            final_depth=DEEPEST_REORGANISATION + 1,
            batch_rows=chance.choice([1, 2, 3, 7]),
            in_flight=chance.choice([1, 2, 4]),
        )
        self.fault_rate = chance.choice([0, 0.02, 0.1, 0.3])
        self.weights = [6, 1, *(chance.choice([0, 0, 1, 4]) for _ in EVENTS[2:])]
        self.eventful = chance.choice([0, 0.1, 0.3, 0.6])
        self.restores = chance.random() < 0.4
        self.users = USERS[: chance.choice([1, 2, 7])]
        if chance.random() < 0.5:
            self.chain.mines_at_once = False

    # ------------------------------------------------------------------------------------------- the play

    def run(self) -> None:
        """Play the history. Raises Charged."""
        put_new_journal(self.directory / "journal", IDENTITY)
        self.grow_log()
        for _ in range(DEEPEST_REORGANISATION + 2):
            self.chain.mine()
        for user in USERS:
            self.chain.fund(user, self.chance.choice([0, self.owed[user] // 3, self.owed[user], RICH]))
        for _ in range(self.chance.randrange(2, 12)):
            self.chain.hook = self.strike
            with contextlib.suppress(Killed, ServingError):
                self.settle()
            self.chain.hook = lambda *_: None
            self.between_runs()
            self.check()
        self.come_to_rest()

    def between_runs(self) -> None:
        self.chain.now += 1
        for _ in range(self.chance.randrange(6)):
            self.happens()
        if self.chance.random() < 0.5:
            self.grow_log()
        copy = self.directory / "copy"
        if not copy.exists() or self.chance.random() < 0.3:
            copy.unlink(missing_ok=True)
            copy_journal(self.directory / "journal", copy)
        elif self.restores and self.chance.random() < 0.5:
            for name in ("journal", "journal-wal", "journal-shm"):
                (self.directory / name).unlink(missing_ok=True)
            shutil.copy(copy, self.directory / "journal")

    def strike(self, *_: str) -> None:
        """Called before and after each answer of the node."""
        if self.chance.random() < self.fault_rate:
            raise self.chance.choice([Killed(), NodeUnreachable("no answer")])
        if self.chance.random() < self.eventful:
            self.happens()
            self.check()

    def happens(self) -> None:
        """Trigger one external event of the kinds that this history uses."""
        chain, chance = self.chain, self.chance
        match chance.choices(EVENTS, self.weights)[0]:
            case "mine":
                chain.mine()
            case "pool":
                chain.mines_at_once = not chain.mines_at_once
            case "lose" if chain.pool:
                self.lost += chain.pool.values()
                chain.pool.clear()
            case "come back" if self.lost:
                back = self.lost.pop(chance.randrange(len(self.lost)))
                chain.pool[back.hash] = back
            case "reorganise":
                self.reorganise()
            case "foreign":
                chain.take_nonce()
            case "hide":
                chain.hidden = {sent.hash for sent, _ in chain._mined()} if not chain.hidden else set()
            case "fail" if chain.pool:
                chain.reverting = {*chain.reverting, chance.choice(sorted(chain.pool))}
            case "signer":
                self.change_signer()
            case "fund":
                self.fund()
            case "take":
                self.take_coins(chance.choice(self.users))
            case "fees":
                chain.least_fee = chance.choice([1, 1, 4])
            case "rest":
                pass

    def fund(self) -> None:
        user = self.chance.choice(self.users)
        amount = self.chance.choice([1, 20, self.owed[user] // 2, self.owed[user], RICH])
        self.chain.fund(user, amount, acknowledged=self.chance.random() < 0.9)

    def reorganise(self) -> None:
        """Undo blocks, except those that were ever more than 8 blocks deep and therefore final."""
        chain, chance = self.chain, self.chance
        height = len(chain.blocks)
        self.highest = max(self.highest, height)
        depth = min(chance.randrange(1, DEEPEST_REORGANISATION + 1), DEEPEST_REORGANISATION + height - self.highest)
        if depth < 1:
            return
        undone = [sent for block in chain.blocks[-depth:] for sent, _ in block.transactions]
        keep = chance.random() < 0.5
        chain.reorganise(depth, keep=keep)
        if not keep:
            self.lost += undone
        while chance.random() < 0.4:
            self.fund()
        if chance.random() < 0.7:
            while len(chain.blocks) < height:
                chain.mine()

    def change_signer(self) -> None:
        service = self.chain.state.service
        assert service is not None
        self.chain.state.service = replace(
            service,
            tee_signer=self.chance.choice([TEE, OTHER_TEE]).address,
            confirmed=self.chance.random() < 0.7,
        )

    def take_coins(self, user: str) -> None:
        """Pay out a refund, or let the user leave permanently."""
        account = self.chain.state.accounts.get(user)
        if account is None:
            return
        if self.chance.random() < 0.3:
            self.chain.leave(user)
        else:
            self.chain.state.accounts[user] = replace(account, balance=self.chance.randrange(account.balance + 1))

    # ------------------------------------------------------------------------------------------ one run

    def grow_log(self) -> None:
        for _ in range(self.chance.randrange(1, 12)):
            user, fee = self.chance.choice(self.users), self.chance.randrange(50)
            self.owed[user] += fee
            self.lines.append(json.dumps({"id": f"r{len(self.lines)}", "user": user, "time": 1, "fee": fee}) + "\n")

    def settle(self) -> Report:
        log = None
        if self.chance.random() < 0.7 or self.calm:
            path = self.directory / "usage.jsonl"
            path.write_text("".join(self.lines))
            log = UsageLog(path, provider=PROVIDER)
        service = self.chain.state.service
        assert service is not None
        signer = OTHER_TEE if service.tee_signer == OTHER_TEE.address else TEE
        with self.journal() as journal:
            run = Settlement(self.chain, journal, signer, self.options, clock=lambda: self.chain.now)
            report = self.loop.run_until_complete(run.run(log))
        if report.fee != report.paid + report.unsettled:
            raise Charged(f"the report does not add up: {report.fee} = {report.paid} + {report.unsettled}")
        return report

    def journal(self) -> contextlib.AbstractContextManager[Journal]:
        return open_journal(self.directory / "journal", IDENTITY, lambda: self.chain.now)

    # ------------------------------------------------------------------------------------------- the end

    def check(self) -> None:
        """Check that nobody has paid more than recorded in the log so far."""
        for user, paid in self.chain.state.paid.items():
            if paid > self.owed[user]:
                raise Charged(f"seed {self.seed}: {user} owes {self.owed[user]} and paid {paid}")

    def come_to_rest(self) -> None:
        """Check that without faults and with funds, every user pays exactly what is owed."""
        chain = self.chain
        chain.hook = lambda *_: None
        chain.hidden, chain.reverting, chain.mines_at_once, chain.least_fee = set(), set(), True, 1
        self.calm = True
        service = chain.state.service
        assert service is not None
        chain.state.service = replace(service, confirmed=True)
        for user in USERS:
            chain.fund(user, RICH)
        stopped: ServingError | None = None
        for _ in range(LAST_RUNS):
            for _ in range(DEEPEST_REORGANISATION + 2):
                chain.mine()
            chain.now += 1
            report = self.settle()
            self.check()
            self.adopt(report)
            stopped = report.stopped_by
            if not report.unsettled and stopped is None and chain.state.paid_in_all() == sum(self.owed.values()):
                break
        else:
            waits = {line.user: line.wait for line in report.lines.values() if line.wait}
            raise Charged(
                f"seed {self.seed}: {chain.state.paid_in_all()} of {sum(self.owed.values())} wei are paid,"
                f" waits {waits}, notes {report.notes}, stopped by {stopped!r}"
            )
        with self.journal() as journal:
            booked = {user.address: user.paid for user in journal.users()}
        if booked != {user: self.owed[user] for user in booked}:
            raise Charged(f"seed {self.seed}: the journal says {booked}, the log {self.owed}")

    def adopt(self, report: Report) -> None:
        """Adopt, as the report advises for users whom another journal settled."""
        users = [line.user for line in report.lines.values() if line.wait is Wait.UNKNOWN_SETTLEMENT]
        if not users:
            return
        if not self.restores:
            raise Charged(f"seed {self.seed}: the only journal says that another one settled for {users}")
        with self.journal() as journal:
            self.loop.run_until_complete(
                self.decide(journal, [user for user in journal.users() if user.address in users])
            )

    async def decide(self, journal: Journal, users: Sequence[UserState]) -> None:
        """Adopt what matches the recorded requests; what does not, paid for some of them, as both copies read one log.

        It does not match where a reorganisation changed the order of settlements.
        """
        for one in await adopt(self.chain, journal, users, None, 0):
            user = journal.user(one.user)
            if not one.how.booked and user is not None:
                await adopt(self.chain, journal, [user], Covers(min(one.paid or 0, user.open)), 0)


# --------------------------------------------------------------------------------------------- many of them


def play(seed: int) -> str | None:
    """Play one history. Returns what went wrong, or None."""
    with (
        patch.object(following, "time", Ticks()),
        patch.object(sending, "time", Ticks()),
        tempfile.TemporaryDirectory(dir=_fast_directory()) as name,
    ):
        try:
            history = History(seed, Path(name))
            with contextlib.closing(history.loop):
                history.run()
        except Exception as error:  # noqa: BLE001 - any exception is a failed history
            return f"seed {seed}: {type(error).__name__}: {error}"
    return None


def _fast_directory() -> str | None:
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Play many histories. The exit status is 1 if any of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1, help="the first seed; the others are consecutive")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.seed, chosen.seed + chosen.count)
    begun, failures = time.monotonic(), 0
    with multiprocessing.Pool(chosen.workers) as pool:
        for number, wrong in enumerate(pool.imap_unordered(play, seeds, chunksize=20), 1):
            if wrong is not None:
                failures += 1
                say(wrong)
            if number % 1000 == 0:
                say(f"{number} histories, {failures} failed, {time.monotonic() - begun:.0f} s")
    say(f"{chosen.count} histories from seed {chosen.seed}: {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
