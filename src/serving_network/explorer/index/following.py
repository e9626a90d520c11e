# SPDX-License-Identifier: Apache-2.0
"""Follow a network's contracts: read step by step, undo what a reorganisation removed, and continue anywhere.

A step is one transaction of the database, with the number and hash of its last block, so a follower that is killed
continues as if it had not been. Steps grow while they contain few events, and shrink when the node refuses them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from serving_network.clients.read.books import deployment_block
from serving_network.counting import count
from serving_network.errors import NodeFailure, WrongChain
from serving_network.explorer.index.calls import LEDGER
from serving_network.explorer.index.checked import checked_as_text
from serving_network.explorer.index.events import Followed, followed, stored
from serving_network.explorer.index.opening import IndexFailure
from serving_network.explorer.index.reading import IndexReader
from serving_network.explorer.index.reconciling import reconcile
from serving_network.explorer.index.recording import record
from serving_network.explorer.index.rolling_back import roll_back
from serving_network.explorer.index.source import Moved, Source, TooLarge
from serving_network.explorer.index.steps import Header, Step
from serving_network.store.schema import SET_FACT

if TYPE_CHECKING:
    from serving_network.chain.reading import AsyncReader
    from serving_network.explorer.index.found import Checked
    from serving_network.store.database import Database

log = logging.getLogger(__name__)

FIRST_WIDTH: Final = 64
CHECK_SECONDS: Final = 600.0
WIDEST: Final = 100_000
MANY_LOGS: Final = 4_000
BLOCKS_REMEMBERED: Final = 256
_STEPS_BEFORE_WIDER: Final = 20
"""Steps that a node must have answered before a width that it refused is tried again."""


class Progress(NamedTuple):
    """What one look at the chain did: the last block read, the newest one, and how many events were read or undone."""

    block: int
    head: int
    events: int
    undone_to: int | None = None

    @property
    def done(self) -> bool:
        """Whether the index has read everything that the node has."""
        return self.block >= self.head


class Tip(NamedTuple):
    """The last block that was read; number -1 if there is none."""

    number: int
    hash: str


class Width:
    """How many blocks to ask for: more while there are few events, fewer once the node refuses."""

    def __init__(self) -> None:
        self.blocks = FIRST_WIDTH
        self._allowed = WIDEST
        self._answered = 0

    def refused(self, asked: int) -> None:
        """The node refused a range of `asked` blocks: ask for half of it."""
        self._allowed = max(1, asked // 2)
        self.blocks = self._allowed
        self._answered = 0

    def read(self, logs: int, blocks: int) -> None:
        """Choose the next width, now that a range of `blocks` had this number of logs."""
        self._answered += 1
        if self._answered % _STEPS_BEFORE_WIDER == 0:
            self._allowed = min(2 * self._allowed, WIDEST)
        if logs > MANY_LOGS:
            self.blocks = max(1, blocks * MANY_LOGS // logs)
        elif logs < MANY_LOGS // 2:
            self.blocks = min(2 * self.blocks, self._allowed)


class Follower:
    """Follows one ledger and everything that it announces, into a database that nobody else writes.

    `confirmations` blocks at the end of the chain are left out, and blocks after `last`.
    """

    def __init__(
        self,
        db: Database,
        chain: AsyncReader,
        ledger: str,
        *,
        first: int | None = None,
        last: int | None = None,
        confirmations: int = 0,
    ) -> None:
        self._db = db
        self._chain = chain
        self._ledger = ledger
        self._first = first
        self._last = last
        self._confirmations = confirmations
        self.width = Width()
        self._source: Source | None = None

    async def look(self) -> Progress:
        """Read the next blocks, or undo those that the chain has lost. Raises NodeFailure and database failures."""
        source = await self._opened()
        tip = self._tip()
        newest = await source.header()
        head = max(newest.number - self._confirmations, -1)
        if self._last is not None:
            head = min(head, self._last)
        try:
            lost = await self._fork(source, tip, newest.number)
        except Moved:
            return Progress(tip.number, head + 1, 0)
        if lost is not None:
            self._undo(lost, head)
            return Progress(lost.number, head, 0, lost.number)
        if tip.number >= head:
            self._looked(head)
            return Progress(tip.number, head, 0)
        first = max(tip.number + 1, self._start)
        last = min(head, first + self.width.blocks - 1)
        if first > head:
            self._looked(head)
            return Progress(head, head, 0)
        try:
            step = await source.step(self._followed(), first, last)
        except TooLarge:
            self.width.refused(last - first + 1)
            return Progress(tip.number, head, 0)
        except Moved:
            return Progress(tip.number, head + 1, 0)
        self._write(step, head)
        self.width.read(step.logs, last - first + 1)
        return Progress(step.last.number, head, len(step.events))

    async def catch_up(self, report: Callable[[Progress], None] = lambda _: None) -> Progress:
        """Read everything that the node has."""
        while True:
            progress = await self.look()
            report(progress)
            if progress.done:
                return progress

    async def follow(
        self,
        every: float,
        report: Callable[[Progress], None] = lambda _: None,
        *,
        check_every: float = CHECK_SECONDS,
        checked: Callable[[Checked], None] = lambda _: None,
    ) -> None:
        """Read everything, and what is new every `every` seconds, without end. Waits for a node that is unavailable.

        Every `check_every` seconds it compares the index with the contracts; 0 is never.
        """
        due = time.monotonic()
        while True:
            try:
                await self.catch_up(report)
                if check_every and time.monotonic() >= due:
                    due = time.monotonic() + check_every
                    checked(await self.check())
            except WrongChain:
                raise
            except NodeFailure as failure:
                log.warning("index: %s; trying again", failure)
            await asyncio.sleep(every)

    async def check(self) -> Checked:
        """Compare the index with the contracts, and keep the result in it. Raises NodeFailure."""
        result = await reconcile(IndexReader(self._db), self._chain)
        if not result.agrees:
            log.error("index: %s at block %s", count(result.different, "difference"), result.block)
        self._db.begin()
        self._db.execute(SET_FACT, ("checked", checked_as_text(result)))
        self._db.commit()
        return result

    # ------------------------------------------------------------------------------------------------ state

    async def _opened(self) -> Source:
        if self._source is None:
            meta = dict(self._db.execute("SELECT key, value FROM meta WHERE key = 'first'").fetchall())
            if "first" in meta:
                self._start = int(meta["first"])
            else:
                self._start = await self._first_block()
                self._db.begin()
                self._db.execute("INSERT INTO meta VALUES ('first', ?)", (str(self._start),))
                self._db.executemany(
                    "INSERT INTO contract VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [stored(Followed(self._ledger, LEDGER, name="ledger"))],
                )
                self._db.commit()
            self._source = Source(self._chain, self._ledger, self._start)
        return self._source

    async def _first_block(self) -> int:
        if not await self._chain.code(self._ledger):
            raise IndexFailure(
                f"There is no ledger at {self._ledger}.",
                cause="The address has no code.",
                next_step="Compare the network's ledger with its deployment: serving network show",
            )
        return await deployment_block(self._chain, self._ledger) if self._first is None else self._first

    def _tip(self) -> Tip:
        meta = dict(self._db.execute("SELECT key, value FROM meta WHERE key IN ('block', 'hash')").fetchall())
        return Tip(int(meta["block"]), meta["hash"])

    def _followed(self) -> Mapping[str, Followed]:
        rows = self._db.execute("SELECT * FROM contract ORDER BY since, address").fetchall()
        return {row[0]: followed(row) for row in rows}

    def _write(self, step: Step, head: int) -> None:
        self._db.begin()
        try:
            record(self._db, self._ledger, step)
            self._set_tip(step.last, head)
            self._db.execute(
                "INSERT INTO seen VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET hash = excluded.hash",
                (step.last.number, step.last.hash),
            )
            self._db.execute(
                "DELETE FROM seen WHERE number < (SELECT min(number) FROM"
                f" (SELECT number FROM seen ORDER BY number DESC LIMIT {BLOCKS_REMEMBERED}) AS newest)"
            )
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()

    def _undo(self, fork: Header, head: int) -> None:
        self._db.begin()
        try:
            roll_back(self._db, self._ledger, fork.number)
            self._set_tip(fork, head)
            self._db.execute(
                "UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE key = 'reorganisations'"
            )
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()

    def _set_tip(self, last: Header, head: int) -> None:
        facts = {
            "block": last.number,
            "hash": last.hash,
            "time": last.time,
            "head": head,
            "looked_at": int(time.time()),
        }
        self._db.executemany(
            "UPDATE meta SET value = ? WHERE key = ?", [(str(value), key) for key, value in facts.items()]
        )

    def _looked(self, head: int) -> None:
        facts = {"head": head, "looked_at": int(time.time())}
        self._db.begin()
        self._db.executemany(
            "UPDATE meta SET value = ? WHERE key = ?", [(str(value), key) for key, value in facts.items()]
        )
        self._db.commit()

    # --------------------------------------------------------------------------------------- reorganisations

    async def _fork(self, source: Source, tip: Tip, newest: int) -> Header | None:
        """The block to go back to, if the last one that was read is not part of the chain any more.

        A node that has fewer blocks than the index has lost them, or never had them: the index shows nothing that its
        node does not have.
        """
        if tip.number < 0 or (tip.number <= newest and await source.hash(tip.number) == tip.hash):
            return None
        kept = [await self._newest_kept(source, table, newest) for table in ("seen", "block")]
        found = max((one for one in kept if one is not None), default=None)
        if found is None:
            return await source.header(self._start - 1) if self._start else Header(-1, "", 0)
        header = await source.header(found.number)
        if header.hash != found.hash:
            raise Moved
        return header

    async def _newest_kept(self, source: Source, table: str, newest: int) -> Tip | None:
        """The newest block of a table that is still part of the chain, by bisection. None if there is none."""
        (count,) = self._db.execute(f"SELECT count(*) FROM {table} WHERE number <= ?", (newest,)).fetchone()
        kept: Tip | None = None
        low, high = 0, count - 1
        while low <= high:
            middle = (low + high) // 2
            number, hash_ = self._db.execute(
                f"SELECT number, hash FROM {table} WHERE number <= ? ORDER BY number LIMIT 1 OFFSET {middle}", (newest,)
            ).fetchone()
            if await source.hash(number) == hash_:
                kept, low = Tip(number, hash_), middle + 1
            else:
                high = middle - 1
        return kept
