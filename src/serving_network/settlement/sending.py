# SPDX-License-Identifier: Apache-2.0
"""Sign settlements, write them to the journal, and send them: where a settlement row becomes a transaction.

    choose the nonces -> sign -> preview -> prepare the transaction -> write both to the journal -> broadcast -> follow

Nothing is broadcast that is not in the journal, and nothing is signed that `nonces` does not allow.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from serving_network.clients.settlements import ROWS_AT_MOST, SignedSettlements
from serving_network.contracts.models import Account, Status
from serving_network.errors import NodeFailure, ServingError
from serving_network.messages.prices import hash_requests
from serving_network.messages.tee_signing import AttestedSigner, SignedMessage
from serving_network.messages.typed_data import TEESettlement, TEESettlementBatch, UserSettlement
from serving_network.settlement.chain import Head, Service, SettlementChain, TooMuchGas
from serving_network.settlement.following import Followed, Follower
from serving_network.settlement.gas import worst_case_gas
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Batch, SignedRow, Transaction, UserState
from serving_network.settlement.nonces import next_turn
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait, obstacle, wait_for
from serving_network.settlement.report import Progress, Report
from serving_network.settlement.resuming import EarlierRuns
from serving_network.settlement.wallet_nonces import UnknownTransactions

SIGNING_ATTEMPTS: Final = 5
"""How often a batch is signed again because the block it was based on is no longer part of the chain."""


class Sender:
    """Sends the batches of one run. `waits` holds the reason why each user's requests are open."""

    def __init__(
        self,
        chain: SettlementChain,
        journal: Journal,
        signer: AttestedSigner,
        options: Options,
        report: Report,
        *,
        follower: Follower,
        earlier: EarlierRuns,
        progress: Progress,
        clock: Callable[[], float],
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._signer = signer
        self._options = options
        self._report = report
        self._follower = follower
        self._earlier = earlier
        self._progress = progress
        self._clock = clock
        self.waits: dict[str, Wait] = {}

    async def send_all(self, users: Sequence[UserState], held: Mapping[str, UserState], service: Service) -> None:
        """Send batches for these users, and follow them together with the batches of earlier runs.

        A batch that failed is sent again as two. The users in `held`, by address, are in batches of earlier runs, and
        follow when these are decided. The first failure is raised after everything sent has been followed.
        """
        held = dict(held)
        rows = self._options.batch_rows or ROWS_AT_MOST[service.form]
        rows = min(rows, ROWS_AT_MOST[service.form])
        waiting = deque(_chunks(users, rows))
        flying: list[Followed] = []
        earlier = [one for one in self._earlier.followed if not one.done]
        failures: list[ServingError] = []
        total = len(users)
        await self._fill(waiting, flying, service, failures)
        while flying or earlier:
            linger = None if flying else self._options.patience
            done = await self._follower.next_done([*flying, *earlier], linger)
            if not done:
                break
            for one in done:
                if one in flying:
                    flying.remove(one)
                    failures += self._failures_of(one, waiting)
                else:
                    earlier.remove(one)
                    self._earlier.note(one)
                    free = [] if failures else self._free(held, one)
                    waiting += _chunks(free, rows)
                    total += len(free)
            left = sum(map(len, waiting)) + sum(len(one.batch.rows) for one in flying)
            self._progress("settling", total - left, total)
            await self._fill(waiting, flying, service, failures)
        for one in earlier:
            self._report.notes.append(
                f"Batch {one.batch.id} of an earlier run is still waiting for transaction"
                f" {one.batch.transactions[-1].hash}: run again, or cancel it with serving settlement cancel."
            )
        if failures:
            self._report.notes += [str(error) for error in failures[1:]]
            raise failures[0]

    def _free(self, held: dict[str, UserState], followed: Followed) -> list[UserState]:
        """Take the users of an earlier run's batch out of `held` unless another batch holds them; those who still owe.

        The batch is done.
        """
        addresses = {row.user.address for row in followed.batch.rows} & held.keys() - self._earlier.holds()
        users = [held.pop(address) for address in sorted(addresses)]
        return [user for user in users if user.open]

    async def _fill(
        self,
        waiting: deque[list[UserState]],
        flying: list[Followed],
        service: Service,
        failures: list[ServingError],
    ) -> None:
        """Send batches from `waiting` up to the limit of batches in flight. After a failure, nothing more is sent."""
        while waiting and len(flying) < self._options.in_flight:
            chunk = waiting.popleft()
            try:
                batch = await self._send(chunk, service)
            except TooMuchGas as error:
                if len(chunk) == 1:
                    failures.append(error)
                    waiting.clear()
                else:
                    waiting.extendleft(reversed(_halves(chunk)))
                continue
            except ServingError as error:
                failures.append(error)
                waiting.clear()
                return
            if batch is not None:
                flying.append(self._follower.begin(batch))

    def _failures_of(self, followed: Followed, waiting: deque[list[UserState]]) -> list[ServingError]:
        """Why a batch was not settled. The users of a batch that failed as a whole are queued again in two halves."""
        if followed.error is not None:
            return [followed.error]
        if followed.failed is None:
            return []
        users = [row.user for row in followed.batch.rows]
        for user in users:
            self.waits[user.address] = Wait.NOT_SENT
        if len(users) == 1:
            return [followed.failed]
        waiting.extendleft(reversed(_halves(users)))
        return []

    async def _send(self, users: Sequence[UserState], service: Service) -> Batch | None:
        """Sign, preview and broadcast one batch; None if none of it may be signed or would be paid."""
        for _ in range(SIGNING_ATTEMPTS):
            head, nonce = await self._next_nonce()
            accounts = await self._chain.accounts([user.address for user in users], head.number)
            made = [row for user in users if (row := self._row(user, accounts.get(user.address), service)) is not None]
            rows = await self._previewed(made, service)
            if self._options.dry_run or not rows:
                return None
            signed = self._sign([row.settlement for row in rows], service)
            transaction = await self._chain.prepare(
                signed, nonce, self._options.gas_limit, self._options.max_gas_price, worst_case_gas(len(rows))
            )
            if await self._follower.wallet.stands(head):
                return await self._broadcast(rows, signed, transaction, head)
        raise NodeFailure(
            f"The chain was reorganised {SIGNING_ATTEMPTS} times while a batch was being signed.",
            cause="The batch was not sent.",
            next_step="Run again when the chain is stable.",
        )

    async def _next_nonce(self) -> tuple[Head, int]:
        """The newest block, and the wallet's next nonce as of it; 0 in a dry run, which sends nothing.

        Waits up to `patience` for transactions of the wallet that are not in the journal.
        """
        asked = time.monotonic()
        while True:
            head = await self._chain.head()
            if self._options.dry_run:
                return head, 0
            try:
                return head, await self._follower.wallet.free_nonce(head)
            except UnknownTransactions:
                if time.monotonic() - asked >= self._options.patience:
                    raise
                await asyncio.sleep(self._options.first_pause)

    async def _broadcast(
        self, rows: Sequence[SignedRow], signed: SignedSettlements, transaction: Transaction, head: Head
    ) -> Batch:
        whole = signed.form == "batch"
        signatures = signed.signatures * len(rows) if whole else signed.signatures
        batch = self._journal.add_batch(
            signed.form,
            self._signer.address,
            signed.signatures[0] if whole else b"",
            head.number,
            [
                row if whole else row._replace(signature=signature)
                for row, signature in zip(rows, signatures, strict=True)
            ],
            transaction,
        )
        for row in rows:
            self.waits[row.user.address] = Wait.IN_FLIGHT
        await self._chain.broadcast(transaction)
        return batch

    def _row(self, user: UserState, account: Account | None, service: Service) -> SignedRow | None:
        """The settlement to sign for a user; None, with the reason in `waits`, if nothing may be signed now."""
        options, journal = self._options, self._journal
        wait = obstacle(user, account, service, options.minimum_fee, options.max_user_fee)
        if account is None or wait is not None:
            self.waits[user.address] = wait or Wait.NO_ACCOUNT
            return None
        turn = next_turn(self._clock(), user, account.nonce, journal.accepted_nonce(user), journal.live(user))
        if isinstance(turn, Wait):
            self.waits[user.address] = turn
            return None
        requests_hash, fee, requests = hash_requests(journal.charges(user, turn.limit))
        if turn.limit is None and fee != user.open:
            raise ServingError(
                f"The journal is not consistent: {user.address} has {user.open} wei open, but requests of {fee} wei.",
                cause="Nothing was sent for this user.",
                next_step=f"Keep {journal.path} and report this as a bug.",
            )
        if not fee:
            self.waits[user.address] = Wait.NOT_FINAL
            return None
        return SignedRow(
            user, UserSettlement(user.address, fee, turn.nonce, requests_hash), b"", requests, 0, user.paid
        )

    def _sign(self, settlements: Sequence[UserSettlement], service: Service) -> SignedSettlements:
        chain = self._chain
        messages: list[SignedMessage]
        if service.form == "batch":
            messages = [TEESettlementBatch(chain.provider, settlements)]
        else:
            messages = [TEESettlement(chain.provider, row) for row in settlements]
        signatures = (self._signer.sign_typed(message, chain.chain_id, chain.contract) for message in messages)
        return SignedSettlements(service.form, tuple(settlements), tuple(signatures))

    async def _previewed(self, rows: list[SignedRow], service: Service) -> list[SignedRow]:
        """The rows that would be paid now, each with the expected payment. Sets the reason for the others."""
        while rows:
            outcomes = await self._chain.preview(self._sign([row.settlement for row in rows], service))
            kept = []
            for row, outcome in zip(rows, outcomes, strict=True):
                if outcome.paid:
                    kept.append(row._replace(expected_paid=outcome.paid))
                else:
                    self.waits[row.user.address] = wait_for(Status(outcome.status), 0) or Wait.REFUSED
            if len(kept) == len(rows):
                for row in kept:
                    self._report.lines[row.user.address].expected = row.expected_paid
                return kept
            rows = kept
        return []


def _chunks(users: Sequence[UserState], size: int) -> Iterator[list[UserState]]:
    return (list(users[start : start + size]) for start in range(0, len(users), size))


def _halves(users: list[UserState]) -> tuple[list[UserState], list[UserState]]:
    middle = len(users) // 2
    return users[:middle], users[middle:]
