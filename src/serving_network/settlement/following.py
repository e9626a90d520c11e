# SPDX-License-Identifier: Apache-2.0
"""Follow batches that were sent until their results are booked, whatever happens to their transactions.

| the node shows | action |
|---|---|
| nothing yet | rebroadcast periodically; after `stuck_after` send a replacement transaction with a higher fee |
| a transaction that is deep enough and consistent with the accounts | book what it accepted |
| a receipt that contradicts the accounts or lacks events | retry, then give up without booking |
| the wallet's nonce used, but no receipt | search the events; if nothing is found, resend the same settlements |
| a lower nonce that was never used | resend the same settlements with that nonce |

Several transactions of a batch can be mined and accept different settlements, so outcomes are merged per settlement. A
settlement that none of them accepted is held until no transaction of the batch is pending. After that, a settlement
with the same nonce can be signed for its user again.

A batch ends when each of its settlements is final or dead, or when the wallet's nonce at the final block has passed all
its transactions. Until then, every run checks it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from serving_network.clients.settlements import Disagreement, Outcome, SignedSettlements
from serving_network.contracts.models import Account, Status
from serving_network.counting import count
from serving_network.errors import ServingError, TransactionPending
from serving_network.settlement.chain import Landed, SettlementChain
from serving_network.settlement.gas import worst_case_gas
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Acceptance, Batch, SignedRow, Transaction
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.wallet_nonces import WalletNonces

Reported = Callable[[SignedRow, Outcome, int, Account | None], None]
"""Called with each booked result: the settlement, its outcome, its share of the gas, and the account afterwards."""

LONGEST_PAUSE = 2.0
REORG_WINDOW: Final = 256
"""The longest reorganisation, in blocks. A settlement may be mined this far below the block at which it was signed."""
_REFUSED = Outcome(Status.INVALID_SIGNATURE, 0)


class BatchFailed(ServingError):
    """A batch was mined but failed as a whole: nothing was paid."""

    exit_code = 6


@dataclass(slots=True)
class Followed:
    """A batch that is being followed. Times are from the monotonic clock.

    `done` is set when this run has nothing more to learn about it, `failed` when its transaction was mined but failed,
    and `error` when following it was given up. `news` is whether anything new was booked.
    """

    batch: Batch
    started: float
    carried_at: float
    replaced_at: float
    sent_again_at: float = float("-inf")
    contradicted_since: float | None = None
    news: bool = False
    done: bool = False
    failed: BatchFailed | None = None
    error: ServingError | None = None


class Follower:
    """Follows batches to their results. Notes and totals go to `report`; `reported` is called with each result."""

    def __init__(
        self, chain: SettlementChain, journal: Journal, options: Options, report: Report, reported: Reported
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._options = options
        self._report = report
        self._reported = reported
        self.wallet = WalletNonces(chain, journal)

    def begin(self, batch: Batch, *, earlier: bool = False) -> Followed:
        """Start following a batch.

        If an `earlier` run sent it, the time it has waited since then counts, and if its transactions are lost, it is
        resent without waiting.
        """
        now = time.monotonic()
        if earlier:
            return Followed(batch, now, float("-inf"), now - self._journal.age(batch))
        return Followed(batch, now, now, now)

    async def next_done(self, followed: Sequence[Followed], linger: float | None = None) -> list[Followed]:
        """Check the batches until at least one of them is done, or for `linger` seconds and once after that.

        Returns those that are done. A failure to follow one of them affects only that one and is stored in its `error`.
        """
        started, pause = time.monotonic(), self._options.first_pause
        while True:
            last = linger is not None and time.monotonic() - started >= linger
            for one in followed:
                await self.look(one)
            done = [one for one in followed if one.done]
            if done or last:
                return done
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def look(self, followed: Followed) -> None:
        """Check one batch once: book what is certain, and rebroadcast, replace or resend its transactions as needed."""
        try:
            await self._look(followed)
        except ServingError as error:
            followed.error, followed.done = error, True
        if followed.done and followed.error is None:
            self.wallet.released.add(followed.batch.id)

    async def _look(self, followed: Followed) -> None:
        options, now = self._options, time.monotonic()
        batch = followed.batch
        passed = await self._chain.mined_wallet_nonce(options.confirmations)
        waiting = [sent for sent in batch.transactions if sent.nonce >= passed]
        try:
            landed = await self._landed(batch, passed)
            deep = await self._deep_enough(landed)
            await self._book(followed, deep, final_look=not waiting and len(deep) == len(landed))
            followed.contradicted_since = None
        except Disagreement:
            now = time.monotonic()
            if followed.contradicted_since is None:
                followed.contradicted_since = now
            if now - followed.contradicted_since >= options.patience:
                raise
        else:
            if followed.done:
                return
            now = time.monotonic()
            if waiting:
                if len(deep) == len(landed):
                    await self._push(followed, waiting, now)
            elif not landed:
                await self._carry_lost(followed, now)
        if now - followed.started >= options.give_up_after:
            raise TransactionPending(
                f"A batch of {count(len(batch.rows), 'settlement')} is not mined after {now - followed.started:.0f} s.",
                transaction=followed.batch.transactions[-1].hash,
                cause="It is in the journal and may still be mined. Its users will not be charged twice.",
                next_step="Run again to resume it.",
            )

    async def _push(self, followed: Followed, waiting: Sequence[Transaction], now: float) -> None:
        """Rebroadcast or replace transactions that are waiting to be mined."""
        batch, options = followed.batch, self._options
        newest = {sent.nonce: sent for sent in waiting}
        first = newest[min(newest)]
        if now - followed.replaced_at >= options.stuck_after:
            gap = await self._chain.wallet_nonce()
            if gap >= first.nonce or self._journal.free_nonce(gap) != gap:
                followed.batch = await self._replace(batch, first)
            elif not batch.cancelled:
                await self._carry_again(followed, now)
            followed.replaced_at = now
        elif now - followed.sent_again_at >= options.stuck_after / 4:
            for nonce in sorted(newest):
                await self._chain.broadcast(newest[nonce])
            followed.sent_again_at = now

    async def _carry_lost(self, followed: Followed, now: float) -> None:
        """Handle a batch whose transactions' nonces were all used by something else, so that none can be mined."""
        if followed.batch.cancelled or any(row.accepted for row in followed.batch.rows):
            followed.done = True
        elif now - followed.carried_at >= self._options.patience:
            await self._carry_again(followed, now)

    async def _landed(self, batch: Batch, passed: int) -> list[Landed]:
        """The results of all mined transactions that carried the batch's settlements, in chain order."""
        signed = signed_of(batch)
        found: dict[str, Landed] = {}
        shown: set[int] = set()
        for sent in batch.transactions:
            landed = await self._chain.landed(sent, signed)
            if landed is not None:
                shown.add(sent.nonce)
                found[sent.hash] = landed
        carried = {sent.nonce for sent in batch.transactions if sent.nonce < passed} - shown
        if carried and not all(row.accepted for row in batch.rows):
            for landed in await self._chain.search(signed, _search_from(batch)):
                found.setdefault(landed.transaction, landed)
        return sorted(found.values(), key=lambda one: one.mined.block_number)

    async def _deep_enough(self, landed: Sequence[Landed]) -> list[Landed]:
        if not landed:
            return []
        newest = (await self._chain.head()).number
        return [one for one in landed if newest - one.mined.block_number + 1 >= self._options.confirmations]

    async def _book(self, followed: Followed, landed: Sequence[Landed], *, final_look: bool) -> None:
        """Book what these transactions accepted. With `final_look`, also book refusals, and finish."""
        batch = followed.batch
        accepted, refused = _merge(batch, landed)
        if final_look and not landed:
            return
        undecided = [place for place, row in enumerate(batch.rows) if not row.accepted and place not in accepted]
        news = {place: one for place, one in accepted.items() if not self._booked(batch.rows[place])}
        wanted = undecided * final_look + list(news)
        accounts = await self._chain.accounts([batch.rows[place].user.address for place in wanted]) if wanted else {}
        for place, one in news.items():
            await self._check(batch, place, one.outcome, accounts)
        for place in undecided if final_look else ():
            elsewhere = await self._check(batch, place, _REFUSED, accounts)
            if elsewhere is not None:
                news[place] = elsewhere
                refused.pop(place, None)
        gas = self._book_gas(followed, landed) // max(1, len(batch.rows))
        self._accept(followed, news, gas, accounts)
        if batch.rows and all(row.accepted for row in followed.batch.rows):
            followed.done = True
        elif final_look:
            self._refuse(followed, landed, refused, gas, accounts)

    def _accept(
        self, followed: Followed, news: Mapping[int, Acceptance], gas: int, accounts: Mapping[str, Account]
    ) -> None:
        """Book acceptances, each with its share of the gas."""
        if not news:
            return
        followed.news = True
        batch = followed.batch = self._journal.accept(followed.batch, news)
        self._report.settlements += len(news)
        self._report.batches += 1
        for place, acceptance in news.items():
            row = batch.rows[place]
            self._reported(row, acceptance.outcome, gas, accounts.get(row.user.address))

    def _booked(self, row: SignedRow) -> bool:
        """Whether an acceptance of this nonce is booked, for this settlement or the same one in another batch."""
        return row.accepted or self._journal.accepted(row.user, row.settlement.nonce)

    def _refuse(
        self,
        followed: Followed,
        landed: Sequence[Landed],
        refused: Mapping[int, Outcome],
        gas: int,
        accounts: Mapping[str, Account],
    ) -> None:
        """Finish a batch: none of its transactions accepted these settlements, and none is pending."""
        batch = followed.batch
        followed.done = True
        self._journal.refuse(batch, {place: outcome.status for place, outcome in refused.items()})
        for place, outcome in refused.items() if followed.news else ():
            row = batch.rows[place]
            self._reported(row, outcome, gas, accounts.get(row.user.address))
        failed = [one for one in landed if not one.succeeded]
        if failed and not refused:
            mined = failed[-1].mined
            followed.failed = BatchFailed(
                f"A batch of {count(len(batch.rows), 'settlement')} was mined but failed: nothing was paid.",
                cause=f"Block {mined.block_number}, {mined.gas_used} of {batch.transactions[-1].gas} gas used.",
                next_step="Run again. If it fails again, check the wallet with serving doctor.",
            )

    def _book_gas(self, followed: Followed, landed: Sequence[Landed]) -> int:
        """Book which transactions were mined. Returns the gas used by those that were not booked before."""
        used = 0
        for one in landed:
            if self._journal.add_mined(one.transaction, one.mined):
                followed.news = True
                used += one.mined.gas_used
                self._report.gas_used += one.mined.gas_used
                self._report.gas_cost += one.mined.gas_cost
        return used

    async def _check(
        self, batch: Batch, place: int, outcome: Outcome, accounts: Mapping[str, Account]
    ) -> Acceptance | None:
        """Raise Disagreement if a user's account contradicts what the receipts say about a settlement.

        If these receipts refused it, but a transaction that is not in the journal got it accepted, return that
        acceptance.
        """
        row = batch.rows[place]
        settlement, account = row.settlement, accounts.get(row.user.address)
        if account is None:
            return None
        if Status(outcome.status).paid:
            if account.nonce >= settlement.nonce:
                return None
        elif account.nonce != settlement.nonce or self._booked(row):
            return None
        else:
            past = await self._chain.past_settlements([settlement.user], _search_from(batch))
            same = [one for one in past if one.settlement is not None and one.settlement.nonce == settlement.nonce]
            ours = {sent.hash for sent in batch.transactions}
            if same and same[-1].acceptance.transaction not in ours:
                return same[-1].acceptance if same[-1].settlement == settlement else None
        raise Disagreement(
            f"According to the node's receipts and events, the settlement of {settlement.user} was"
            f" {'' if Status(outcome.status).paid else 'not '}accepted, but the account's nonce is {account.nonce} and"
            f" the settlement's nonce is {settlement.nonce}.",
            cause="The node is out of sync or returns false data. Nothing was booked.",
            next_step="Run again with another node.",
        )

    async def _carry_again(self, followed: Followed, now: float) -> None:
        """Send the same signed settlements in a new transaction with the wallet's next nonce.

        The nonce of the last transaction was used by something else, or is blocked by a lower nonce that was never
        used. If not all settlements would be paid, nothing is sent: new ones can be signed for the users, with the
        same nonces.
        """
        batch = followed.batch
        head = await self._chain.head()
        signed, nonce = signed_of(batch), await self.wallet.free_nonce(head)
        accounts = await self._chain.accounts([row.user.address for row in batch.rows], head.number)
        news = {
            place: elsewhere
            for place in range(len(batch.rows))
            if (elsewhere := await self._check(batch, place, _REFUSED, accounts)) is not None
        }
        if news:
            self._accept(followed, news, 0, accounts)
        overtaken = any(self._overtaken(row, accounts) for row in batch.rows)
        if news or overtaken or not all(outcome.paid for outcome in await self._chain.preview(signed)):
            followed.done = True
            return
        lost, options = batch.transactions[-1].nonce, self._options
        transaction = await self._chain.prepare(
            signed, nonce, options.gas_limit, options.max_gas_price, worst_case_gas(len(batch.rows))
        )
        if not await self.wallet.stands(head):
            return
        followed.batch = self._journal.add_transaction(batch, transaction)
        followed.carried_at = followed.replaced_at = now
        await self._chain.broadcast(transaction)
        self._report.notes.append(
            f"The transaction with nonce {lost} of the wallet could not be mined: the same signed settlements were sent"
            f" again with nonce {nonce}."
        )

    def _overtaken(self, row: SignedRow, accounts: Mapping[str, Account]) -> bool:
        """Whether the account has a settlement that is not in the journal, or was not when this one was signed."""
        account = accounts.get(row.user.address)
        unknown = account is not None and account.nonce > self._journal.accepted_nonce(row.user)
        return unknown or row.user.paid != row.paid_before

    async def _replace(self, batch: Batch, stuck: Transaction) -> Batch:
        """Send a replacement for a stuck transaction, with a higher fee."""
        cap = self._options.max_gas_price
        if stuck.purpose == "cancel":
            transaction = await self._chain.empty(stuck.nonce, stuck, cap)
        else:
            transaction = await self._chain.replace(signed_of(batch), stuck, cap)
        batch = self._journal.add_transaction(batch, transaction)
        await self._chain.broadcast(transaction)
        self._report.replaced += 1
        return batch


def _search_from(batch: Batch) -> int:
    """The first block in which a batch may have been mined: after a reorganisation, that may be before its creation."""
    return max(0, batch.from_block - REORG_WINDOW)


def signed_of(batch: Batch) -> SignedSettlements:
    """The signed settlements that the transactions of a batch carry."""
    settlements = tuple(row.settlement for row in batch.rows)
    if batch.form == "batch":
        return SignedSettlements("batch", settlements, (batch.signature,))
    return SignedSettlements("entries", settlements, tuple(row.signature for row in batch.rows))


def _merge(batch: Batch, landed: Sequence[Landed]) -> tuple[dict[int, Acceptance], dict[int, Outcome]]:
    """By position: the settlements that a transaction accepted, and the last outcome of the others.

    Raises Disagreement if two transactions accepted the same settlement.
    """
    accepted: dict[int, Acceptance] = {}
    refused: dict[int, Outcome] = {}
    for one in landed:
        for place, outcome in enumerate(one.outcomes):
            if not Status(outcome.status).paid:
                refused[place] = outcome
            elif place in accepted:
                raise Disagreement(
                    f"According to the node, two transactions were paid for the settlement of"
                    f" {batch.rows[place].user.address}.",
                    cause=f"{accepted[place].transaction} and {one.transaction}: the contract accepts each nonce once.",
                )
            else:
                accepted[place] = Acceptance(outcome, one.mined.block_number, one.mined.block_hash, one.transaction)
    return accepted, {place: outcome for place, outcome in refused.items() if place not in accepted}
