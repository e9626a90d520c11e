"""Following a batch that was sent until its result is booked, whatever happens to its transactions.

| what the node shows | what is done |
|---|---|
| nothing yet | broadcast again from time to time; after a while replace it with a higher fee |
| a receipt, deep enough, that the accounts agree with | book each settlement's result |
| a receipt that contradicts the accounts, or lacks events | ask again, then give up without booking |
| the wallet's nonce is used, but no receipt | look through the events; else carry the same settlements again |
| a nonce before it was never used | carry the same settlements again, with that nonce |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from serving_network.clients.models import Account, Status
from serving_network.errors import ServingError, TransactionPending
from serving_network.settlement.chain import (
    Disagreement,
    Landed,
    SettlementChain,
    SignedSettlements,
)
from serving_network.settlement.journal import Batch, Journal, Outcome, SignedRow
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report

Told = Callable[[SignedRow, Outcome, int, Account | None], None]
"""Given each booked result: the settlement, its outcome, its share of the gas, and the account afterwards."""


class BatchFailed(ServingError):
    """A batch was mined and failed as a whole: nothing was paid."""

    exit_code = 6


class Follower:
    """Brings batches to their end. What happens on the way is noted in `report`, each result given to `told`."""

    def __init__(self, chain: SettlementChain, journal: Journal, options: Options, report: Report, told: Told) -> None:
        self._chain = chain
        self._journal = journal
        self._options = options
        self._report = report
        self._told = told

    async def follow(self, batch: Batch) -> None:
        """Follow a batch until its result is booked. Raises TransactionPending when that takes too long."""
        signed = _signed(batch)
        started = time.monotonic()
        carried_at = replaced_at = started
        contradicted_since: float | None = None
        pause = self._options.first_pause
        sent_again_at = float("-inf")
        while True:
            nonce_used = (
                await self._chain.mined_wallet_nonce(self._options.confirmations) > batch.transactions[-1].nonce
            )
            try:
                landed = await self._landed(batch, signed, nonce_used)
                if landed is not None:
                    head = await self._chain.head()
                    if head.number - landed.mined.block_number + 1 >= self._options.confirmations:
                        await self._book(batch, landed)
                        return
                contradicted_since = None
            except Disagreement:
                landed = None
                contradicted_since = contradicted_since or time.monotonic()
                if time.monotonic() - contradicted_since >= self._options.patience:
                    raise
            now = time.monotonic()
            if landed is None and contradicted_since is None:
                if nonce_used:
                    if now - carried_at >= self._options.patience:
                        batch = await self._carry_again(batch, signed)
                        carried_at = replaced_at = now
                elif now - replaced_at >= self._options.stuck_after:
                    if await self._chain.wallet_nonce() < batch.transactions[-1].nonce:
                        batch, carried_at = await self._carry_again(batch, signed), now
                    else:
                        batch = await self._replace(batch, signed)
                    replaced_at = now
                elif now - sent_again_at >= self._options.stuck_after / 4:
                    await self._chain.broadcast(batch.transactions[-1])
                    sent_again_at = now
            if now - started >= self._options.give_up_after:
                raise TransactionPending(
                    f"A batch of {len(batch.rows)} settlements is not mined after {now - started:.0f} s.",
                    transaction=batch.transactions[-1].hash,
                    cause="It is in the journal and may still be mined. Its users are not settled a second time.",
                    next_step="Run again: it is taken up where it stands.",
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 2.0)

    async def _landed(self, batch: Batch, signed: SignedSettlements, nonce_used: bool) -> Landed | None:
        """What the batch did, from the transaction in which it took effect."""
        found = [
            landed for sent in batch.transactions if (landed := await self._chain.landed(sent, signed)) is not None
        ]
        if not any(_took_effect(landed) for landed in found) and (nonce_used or found):
            elsewhere = await self._chain.search(signed, batch.from_block)
            if elsewhere is not None:
                found.append(elsewhere)
        return max(found, key=_took_effect, default=None)

    async def _carry_again(self, batch: Batch, signed: SignedSettlements) -> Batch:
        """Give the same signed settlements a new transaction with the wallet's next nonce.

        Something else took the nonce of the last one, or a nonce before it was never used and blocks it.
        """
        accounts = await self._chain.accounts([row.user.address for row in batch.rows])
        _check_untouched(batch, accounts)
        lost, nonce = batch.transactions[-1].nonce, await self._chain.wallet_nonce()
        options = self._options
        transaction = await self._chain.prepare(signed, nonce, options.gas_limit, options.max_gas_price)
        batch = self._journal.add_transaction(batch, transaction)
        await self._chain.broadcast(transaction)
        self._report.notes.append(
            f"A transaction with nonce {lost} of the wallet could not be mined: the same signed settlements were sent"
            f" again with nonce {nonce}."
        )
        return batch

    async def _replace(self, batch: Batch, signed: SignedSettlements) -> Batch:
        """Offer more for the gas of a transaction that is stuck."""
        transaction = await self._chain.replace(signed, batch.transactions[-1], self._options.max_gas_price)
        batch = self._journal.add_transaction(batch, transaction)
        await self._chain.broadcast(transaction)
        self._report.replaced += 1
        return batch

    async def _book(self, batch: Batch, landed: Landed) -> None:
        accounts = await self._chain.accounts([row.user.address for row in batch.rows])
        mined = landed.mined
        self._report.gas_used += mined.gas_used
        self._report.gas_cost += mined.gas_cost
        if not landed.succeeded:
            _check_untouched(batch, accounts)
            self._journal.revert_batch(batch, mined)
            raise BatchFailed(
                f"A batch of {len(batch.rows)} settlements was mined and failed: nothing was paid.",
                cause=f"Block {mined.block_number}, {mined.gas_used} gas of {batch.transactions[-1].gas}.",
                next_step="Run again; if it fails again, look at the wallet with serving doctor.",
            )
        _check_accounts(batch, landed.outcomes, accounts)
        self._journal.finish_batch(batch, landed.outcomes, mined)
        self._report.batches += 1
        self._report.settlements += len(batch.rows)
        for row, outcome in zip(batch.rows, landed.outcomes, strict=True):
            self._told(row, outcome, mined.gas_used // len(batch.rows), accounts.get(row.user.address))


def _signed(batch: Batch) -> SignedSettlements:
    settlements = tuple(row.settlement for row in batch.rows)
    if batch.form == "batch":
        return SignedSettlements("batch", settlements, (batch.signature,))
    return SignedSettlements("entries", settlements, tuple(row.signature for row in batch.rows))


def _took_effect(landed: Landed) -> int:
    """How many settlements a transaction got accepted."""
    return sum(Status(outcome.status).paid for outcome in landed.outcomes)


def _check_accounts(batch: Batch, outcomes: Sequence[Outcome], accounts: dict[str, Account]) -> None:
    """Raises Disagreement if the accounts do not show what the receipt tells."""
    for row, outcome in zip(batch.rows, outcomes, strict=True):
        account = accounts.get(row.user.address)
        nonce = 0 if account is None else account.nonce
        accepted = Status(outcome.status).paid
        contradicts = nonce < row.settlement.nonce if accepted else nonce == row.settlement.nonce
        if account is not None and contradicts:
            raise Disagreement(
                f"By the node's receipts and events the settlement of {row.user.address} was"
                f" {'' if accepted else 'not '}accepted, but the account's nonce is {nonce} and the settlement's"
                f" {row.settlement.nonce}.",
                cause="A node that is out of step, or one that does not tell the truth. Nothing was booked.",
                next_step="Run again with another node.",
            )


def _check_untouched(batch: Batch, accounts: dict[str, Account]) -> None:
    """Raises Disagreement if an account shows that a batch took effect which, by its receipts, did not."""
    _check_accounts(batch, [Outcome(Status.INVALID_SIGNATURE, 0)] * len(batch.rows), accounts)
