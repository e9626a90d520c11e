# SPDX-License-Identifier: Apache-2.0
"""Cancel batches with pending transactions: replace each transaction with an empty one.

The wallet's nonces are used in order. Every nonce from the first unused one up to a batch's newest transaction
therefore needs an empty transaction, even if the journal has no transaction there: an unknown transaction may be
pending, or none at all. Each empty transaction is in the journal before it is broadcast. If a batch's own transaction
is mined instead, its result is booked as usual.

The batches stay open until the empty transactions are final. They are not sent again. New settlements can be signed
for their users, with the same nonces.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Account, Status
from serving_network.errors import InvalidInput, TransactionPending
from serving_network.settlement.chain import SettlementChain, Underpriced
from serving_network.settlement.following import LONGEST_PAUSE, Follower
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Batch, SignedRow, Transaction
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report

GAS: Final = 21_000
"""The gas of an empty transaction."""


@dataclass(frozen=True, slots=True)
class Place:
    """A nonce of the wallet that needs an empty transaction.

    `waiting` is the journal's transaction with this nonce and the highest fee, None if there is none. `batch` is the
    batch under which the empty transaction is stored; None if there is no batch, which adds one without settlements.
    """

    nonce: int
    waiting: Transaction | None
    batch: int | None


@dataclass(frozen=True, slots=True)
class CancellationPlan:
    """A planned cancellation: the batches that it cancels and the nonces that it uses."""

    batches: tuple[Batch, ...]
    places: tuple[Place, ...]


@dataclass(slots=True)
class Cancelled:
    """The result of a cancellation. `paid` is what the batches' own transactions still paid, in wei.

    `sent` are the empty transactions that were broadcast; `waiting` are the batches that are still undecided.
    """

    batches: list[Batch]
    sent: list[Transaction]
    results: list[tuple[SignedRow, Outcome]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gas_used: int = 0
    gas_cost: int = 0

    @property
    def paid(self) -> int:
        return sum(outcome.paid for _, outcome in self.results)


async def plan_cancellation(
    chain: SettlementChain, journal: Journal, numbers: Iterable[int] | None = None
) -> CancellationPlan:
    """Plan the cancellation of these batches, or of all batches with pending transactions.

    Without `numbers`, the wallet's pending transactions that are not in the journal are cancelled too. Transactions of
    other batches are left alone. Raises InvalidInput for a batch without a pending transaction.
    """
    mined = await chain.mined_wallet_nonce(1)
    waiting = {
        batch.id: batch for batch in journal.open_batches() if any(sent.nonce >= mined for sent in batch.transactions)
    }
    last = -1
    if numbers is None:
        chosen = list(waiting.values())
        last = await chain.wallet_nonce() - 1
    else:
        for number in numbers:
            if number not in waiting:
                raise InvalidInput(
                    f"Batch {number} has no pending transaction.",
                    next_step="Run serving settlement list: it shows which batches are waiting.",
                )
        chosen = [waiting[number] for number in sorted(set(numbers))]
    last = max([last, *(sent.nonce for batch in chosen for sent in batch.transactions)])
    left_alone = {sent.nonce for batch in waiting.values() if batch not in chosen for sent in batch.transactions}
    places = [_place(nonce, chosen) for nonce in range(mined, last + 1)]
    return CancellationPlan(
        tuple(chosen), tuple(one for one in places if one.waiting is not None or one.nonce not in left_alone)
    )


def _place(nonce: int, batches: Sequence[Batch]) -> Place:
    """Assign a nonce to the batch that uses it, else to the one with the next higher nonce, else to the last."""
    having = [batch for batch in batches if any(sent.nonce == nonce for sent in batch.transactions)]
    if having:
        same = [sent for batch in having for sent in batch.transactions if sent.nonce == nonce]
        return Place(nonce, max(same, key=_price), having[0].id)
    above = [(sent.nonce, batch.id) for batch in batches for sent in batch.transactions if sent.nonce > nonce]
    if above:
        return Place(nonce, None, min(above)[1])
    return Place(nonce, None, batches[-1].id if batches else None)


def _price(sent: Transaction) -> tuple[int, int]:
    return sent.max_fee_per_gas, sent.max_priority_fee_per_gas


async def cancel(chain: SettlementChain, journal: Journal, options: Options, plan: CancellationPlan) -> Cancelled:
    """Send the empty transactions of a plan, and wait until all of its nonces are used.

    Raises GasPriceAboveCap, with the required fee, before anything is sent, and TransactionPending after
    `options.give_up_after` seconds; call it again with a new plan to continue.
    """
    return await _Cancellation(chain, journal, options, plan).run()


class _Cancellation:
    def __init__(self, chain: SettlementChain, journal: Journal, options: Options, plan: CancellationPlan) -> None:
        self._chain = chain
        self._journal = journal
        self._options = options
        self._plan = plan
        self._newest: dict[int, Transaction] = {}
        self._added: int | None = None
        self._report = Report(chain.chain_id, chain.contract, chain.provider)
        self._done = Cancelled(list(plan.batches), [])

    async def run(self) -> Cancelled:
        places = {place.nonce: place for place in self._plan.places}
        if not places:
            return self._done
        by_fee = sorted(places.values(), key=lambda place: _price(place.waiting) if place.waiting else (0, 0))
        for place in reversed(by_fee):
            self._newest[place.nonce] = await self._chain.empty(place.nonce, place.waiting, self._options.max_gas_price)
        for place in self._plan.places:
            await self._send(place)
        await self._wait(places)
        await self._look()
        return self._done

    async def _send(self, place: Place) -> None:
        """Write an empty transaction to the journal and broadcast it; raise its fee while the node requires it."""
        while True:
            transaction = self._newest[place.nonce]
            self._record(place, transaction)
            try:
                await self._chain.broadcast(transaction)
            except Underpriced:
                self._newest[place.nonce] = await self._chain.empty(
                    place.nonce, transaction, self._options.max_gas_price
                )
            else:
                self._done.sent.append(transaction)
                return

    def _record(self, place: Place, transaction: Transaction) -> None:
        """Write an empty transaction to the journal, for every batch that used its nonce.

        If there is no batch, one without settlements is added.
        """
        number = self._added if place.batch is None else place.batch
        if number is None:
            self._added = self._journal.add_batch("entries", "", b"", 0, (), transaction).id
            return
        using = {one.id for one in self._plan.batches if any(sent.nonce == place.nonce for sent in one.transactions)}
        for one in sorted(using | {number}):
            self._journal.add_transaction(self._journal.batch(one), transaction)

    async def _wait(self, places: dict[int, Place]) -> None:
        """Wait until all nonces are used. Rebroadcast what is still pending, then replace it within the cap."""
        options = self._options
        started = pushed = raised = time.monotonic()
        pause, last = options.first_pause, max(places)
        while (mined := await self._chain.mined_wallet_nonce(1)) <= last:
            now = time.monotonic()
            if now - started >= options.give_up_after:
                raise TransactionPending(
                    f"An empty transaction is not mined after {now - started:.0f} s.",
                    transaction=self._newest[min(nonce for nonce in places if nonce >= mined)].hash,
                    cause=f"The wallet's next nonce is {mined}. The batches stay open and are not sent again.",
                    next_step="Run serving settlement cancel again, with a higher --max-fee if necessary.",
                )
            if now - raised >= options.stuck_after:
                await self._raise_fee(places, mined)
                raised = pushed = now
            elif now - pushed >= options.stuck_after / 4:
                for nonce in sorted(self._newest):
                    if nonce >= mined:
                        with suppress(Underpriced):
                            await self._chain.broadcast(self._newest[nonce])
                pushed = now
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def _raise_fee(self, places: dict[int, Place], mined: int) -> None:
        for nonce, place in places.items():
            if nonce >= mined:
                self._newest[nonce] = await self._chain.empty(nonce, self._newest[nonce], self._options.max_gas_price)
                await self._send(place)

    async def _look(self) -> None:
        """Book the results of the batches' own transactions, if one of them was mined instead."""

        def reported(row: SignedRow, outcome: Outcome, _: int, __: Account | None) -> None:
            if Status(outcome.status).paid:
                self._done.results.append((row, outcome))

        follower = Follower(self._chain, self._journal, self._options, self._report, reported)
        numbers = [batch.id for batch in self._plan.batches] + ([] if self._added is None else [self._added])
        following = [follower.begin(self._journal.batch(number)) for number in numbers]
        deadline = time.monotonic() + self._options.give_up_after
        while following and (left := deadline - time.monotonic()) > 0:
            for one in await follower.next_done(following, linger=left):
                following.remove(one)
                if one.error is not None:
                    self._done.notes.append(f"Batch {one.batch.id}: {one.error}")
                    self._done.waiting.append(one.batch.id)
        self._done.waiting += [one.batch.id for one in following]
        self._done.batches = [self._journal.batch(number) for number in numbers]
        self._done.gas_used, self._done.gas_cost = self._report.gas_used, self._report.gas_cost
