# SPDX-License-Identifier: Apache-2.0
"""Resume the batches of earlier runs: undo what was reorganised out, book what is certain, end what is decided."""

from __future__ import annotations

from serving_network.chains import LOCAL_CHAIN
from serving_network.errors import ServingError
from serving_network.settlement.chain import Head, SettlementChain
from serving_network.settlement.following import REORG_WINDOW, Followed, Follower
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Batch
from serving_network.settlement.report import Progress, Report
from serving_network.store.opening import JournalOfAnother


class EarlierRuns:
    """The batches of earlier runs. `followed` are those that a transaction could still affect at the start."""

    def __init__(
        self, chain: SettlementChain, journal: Journal, follower: Follower, report: Report, progress: Progress
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._follower = follower
        self._report = report
        self._progress = progress
        self.followed: list[Followed] = []

    async def resume(self, head: Head) -> None:
        """Check the batches of earlier runs once: book what is certain, and undo what was reorganised out.

        A batch that cannot be checked holds only its own users.
        """
        await self._check_blocks(head)
        for batch in sorted(self._journal.open_batches(), key=_last_nonce):
            self._progress("resuming", 0, 0)
            followed = self._follower.begin(batch, earlier=True)
            await self._follower.look(followed)
            self.followed.append(followed)
            if followed.done:
                self.note(followed)
        await self._end_batches(head)

    async def _check_blocks(self, head: Head) -> None:
        """Undo the bookings of blocks that are not part of the chain.

        Every block that was not final when the last run ended is looked up, then older ones until one is part of the
        chain: the node may be on a fork of the chain.
        """
        newest = self._journal.last_booked_block()
        window = REORG_WINDOW if self._chain.chain_id == LOCAL_CHAIN else 0
        if head.number < newest - window:
            raise JournalOfAnother(
                f"The journal {self._journal.path} knows of block {newest}, the chain has only {head.number}.",
                cause="The node is behind, or the chain was started from scratch.",
                next_step="Run again when the node is in sync, or begin a new journal with --journal PATH.",
            )
        undone, final = [], self._journal.final_block()
        for number, block_hash in self._journal.booked_blocks():
            if await self._chain.block_hash(number) != block_hash:
                undone.append((number, block_hash))
            elif number <= final:
                break
        for number, block_hash in undone:
            self._journal.unbook(number, block_hash)
            self._report.notes.append(
                f"Block {number} was reorganised out of the chain: its settlements were reopened."
            )

    async def _end_batches(self, head: Head) -> None:
        """End the batches of which no transaction can take effect any more, as of the final block.

        That block was final before the batches were checked, so what they showed of it is permanent.
        """
        final = self._follower.wallet.final
        try:
            await self._sight_wallet(head, final)
        except ServingError as error:
            self._report.notes.append(
                f"The wallet's nonce is unknown, so batches that it would end stay open: {error.message}"
            )
        self._journal.finalise(final)
        passed = self._journal.wallet_nonce_passed(final)
        for one in self.followed:
            seen = one.error is None and one.contradicted_since is None
            over = one.done and _last_nonce(one.batch) < passed
            if seen and (over or (one.batch.rows and self._journal.overtaken(one.batch))):
                self._journal.end_batch(one.batch)
                one.done = True
        self._journal.finalise(final)

    async def _sight_wallet(self, head: Head, final: int) -> None:
        """Record the wallet's nonce in the newest block until that is final, because nodes drop old states."""
        sighting = self._journal.wallet_sighting()
        if sighting is None or sighting[1] <= final:
            if sighting is not None:
                self._journal.end_sighting(final=await self._chain.block_hash(sighting[1]) == sighting[2])
            nonce = await self._chain.wallet_nonce_at(head.number)
            self._journal.see_wallet(nonce, head.number, head.hash)
            if head.number <= final:
                self._journal.end_sighting(final=True)

    def holds(self) -> set[str]:
        """Users with an undecided settlement in a batch of an earlier run that may have a pending transaction."""
        decided = {one.batch.id for one in self.followed if one.done and one.error is None}
        return {
            row.user.address
            for batch in self._journal.open_batches()
            if batch.id not in decided
            for row in batch.rows
            if not row.accepted
        }

    def note(self, followed: Followed) -> None:
        """Report a batch that is done, or that could not be checked."""
        if followed.error is not None:
            why = (followed.error.message, followed.error.cause, followed.error.next_step)
            self._report.notes.append(
                " ".join([f"Batch {followed.batch.id} of an earlier run is still waiting:", *filter(None, why)])
            )
        elif followed.news:
            self._report.taken_up += 1


def _last_nonce(batch: Batch) -> int:
    """The highest nonce of the wallet among the batch's transactions."""
    return max(sent.nonce for sent in batch.transactions)
