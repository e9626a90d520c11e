"""One settlement run, from log to report.

    resume batches of earlier runs -> read the log -> choose who is settled -> sign -> preview
    -> write to the journal -> broadcast -> follow to the receipt -> book -> report

A run may be killed at any moment. These rules protect the funds:

- Signed settlements that could both take effect have the same nonce or cover different requests: see `nonces`.
- A transaction is written to the journal before it is broadcast. Batches are followed by their transaction hashes, the
  wallet's nonce and the events. Nothing new is signed for users in a batch that has a pending transaction.
- Results are booked at the requested depth, and only if receipt and accounts agree.
- If a block is reorganised out of the chain later, the next run undoes its bookings.
- Before anything is signed, the accounts and the wallet are compared with the journal, so that a restored, copied or
  new journal never charges anybody again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from serving_network.clients.settlements import ROWS_AT_MOST, Outcome, SignedSettlements
from serving_network.contracts.models import Account, Status
from serving_network.errors import NodeFailure, RpcError, ServingError
from serving_network.messages.prices import Prices, hash_requests
from serving_network.messages.typed_data import (
    INFERENCE_NAME,
    Domain,
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
)
from serving_network.messages.usage import Reject, UsageRow
from serving_network.money import describe
from serving_network.settlement.chain import LOCAL_CHAIN_ID, Head, Service, SettlementChain, TooMuchGas
from serving_network.settlement.following import REORG_WINDOW, Followed, Follower, UnknownTransactions
from serving_network.settlement.gas import worst_case_gas
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Batch, SignedRow, Transaction, UserState
from serving_network.settlement.nonces import next_turn
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait, in_order_of_risk, obstacle, stake_of, wait_for
from serving_network.settlement.report import Report, UserLine
from serving_network.signing import TeeSigner
from serving_network.store.sqlite import JournalOfAnother
from serving_network.usage_logs.reader import UsageLog

CHUNK_ROWS: Final = 10_000
ACCOUNTS_AT_ONCE: Final = 500
SIGNING_ATTEMPTS: Final = 5
"""How often a batch is signed again because the block it was based on is no longer part of the chain."""


class NoService(ServingError):
    """The provider has no service on this contract, so there are no prices and nothing can be settled."""

    exit_code = 2


class WrongSigner(ServingError):
    """The TEE key in use does not belong to the signer of the provider's service."""

    exit_code = 4


Progress = Callable[[str, int, int], None]
"""Called with the current phase, how much of it is done, and its total (0 if unknown)."""


def no_progress(phase: str, done: int, total: int) -> None:
    """Ignore progress."""


class Settlement:
    """One run. Use `run` once."""

    def __init__(
        self,
        chain: SettlementChain,
        journal: Journal,
        signer: TeeSigner,
        options: Options | None = None,
        *,
        reject: Callable[[Reject], None] = lambda _: None,
        progress: Progress = no_progress,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._signer = signer
        self._options = options or Options()
        self._reject = reject
        self._progress = progress
        self._clock = clock
        self._domain = Domain(INFERENCE_NAME, chain.chain_id, chain.contract)
        self._report = Report(chain.chain_id, chain.contract, chain.provider)
        self._accounts: dict[str, Account] = {}
        self._waits: dict[str, Wait] = {}
        self._follower = Follower(chain, journal, self._options, self._report, self._add_result)
        self._earlier: list[Followed] = []

    async def run(self, log: UsageLog | None) -> Report:
        """Record the log's requests and settle everything that is open.

        A failure while settling ends the run early and is stored in the report. Raises ServingError for earlier
        failures: no service, wrong signer, another chain, or a node that does not respond.
        """
        head = await self._chain.head()
        self._follower.final = await self._chain.final_block(self._options.final_depth)
        if not self._options.dry_run:
            await self._resume(head)
        service = await self._chain.service()
        if service is None:
            raise NoService(
                f"{self._chain.provider} has no service on {self._chain.contract}.",
                cause="Without a service there are no prices, and the contract refuses settlements.",
                next_step="serving service register OFFER",
            )
        if log is not None:
            await self._read(log, Prices(service.input_price, service.output_price))
        if self._signer.address != service.tee_signer:
            raise WrongSigner(
                f"The TEE key belongs to {self._signer.address}, but the service's signer is {service.tee_signer}.",
                cause="The contract would refuse its signatures. All requests stay recorded and open.",
                next_step="Use the key of the service's signer, or update the service.",
            )
        await self._settle(service, head)
        return self._report

    # ----------------------------------------------------------------------------------- resuming

    async def _resume(self, head: Head) -> None:
        """Check the batches of earlier runs once: book what is certain, and undo what was reorganised out.

        A batch that cannot be checked holds only its own users.
        """
        await self._check_blocks(head)
        for batch in sorted(self._journal.open_batches(), key=_last_nonce):
            self._progress("resuming", 0, 0)
            followed = self._follower.begin(batch, earlier=True)
            await self._follower.look(followed)
            self._earlier.append(followed)
            if followed.done:
                self._note_earlier(followed)
        await self._end_batches(head)

    async def _check_blocks(self, head: Head) -> None:
        """Undo the bookings of blocks that are not part of the chain.

        Every block that was not final when the last run ended is looked up, then older ones until one is part of the
        chain: the node may be on a fork of the chain.
        """
        newest = self._journal.last_booked_block()
        window = REORG_WINDOW if self._chain.chain_id == LOCAL_CHAIN_ID else 0
        if head.number < newest - window:
            raise JournalOfAnother(
                f"The journal {self._journal.path} knows of block {newest}, the chain has only {head.number}.",
                cause="The node is behind, or the chain was started anew.",
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
        final = self._follower.final
        try:
            await self._sight_wallet(head, final)
        except ServingError as error:
            self._report.notes.append(
                f"The wallet's nonce is unknown, so batches that it would end stay open: {error.message}"
            )
        self._journal.finalise(final)
        passed = self._journal.wallet_nonce_passed(final)
        for one in self._earlier:
            seen = one.error is None and one.contradicted_since is None
            over = one.done and _last_nonce(one.batch) < passed
            if seen and (over or self._journal.overtaken(one.batch)):
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

    # ------------------------------------------------------------------------------------ reading

    async def _read(self, log: UsageLog, prices: Prices) -> None:
        report, size = self._report, log.size()
        rejects: list[Reject] = []
        chunk: list[UsageRow] = []

        def flush() -> None:
            if chunk:
                recorded = self._journal.record(chunk, prices)
                report.new_requests += recorded.new
                report.known_requests += recorded.known
                rejects.extend(recorded.rejects)
                chunk.clear()
            for reject in sorted(rejects):
                self._reject(reject)
            report.rejected += len(rejects)
            rejects.clear()
            self._progress("reading", log.position(), size)

        def set_aside(reject: Reject) -> None:
            rejects.append(reject)
            if len(rejects) >= CHUNK_ROWS:
                flush()

        self._journal.begin_reading()
        for row in log.rows(set_aside):
            chunk.append(row)
            if len(chunk) >= CHUNK_ROWS:
                flush()
                await asyncio.sleep(0)  # lets Ctrl-C be handled
        flush()
        self._journal.end_reading()

    # ----------------------------------------------------------------------------------- settling

    async def _settle(self, service: Service, head: Head) -> None:
        users = [user for user in self._journal.users() if user.open]
        await self._look_up([user.address for user in users])
        due = max(int(self._clock()), head.timestamp) + self._options.interval
        stakes = {user.address: stake_of(user, self._accounts.get(user.address), due) for user in users}
        lines = {user.address: self._line(user) for user in users}
        for user in users:
            lines[user.address].stake = stakes[user.address]
        held = self._held()
        unknown = await self._unknown_settlements(service)
        options = self._options
        ready = []
        for user in users:
            account = self._accounts.get(user.address)
            wait = obstacle(user, account, service, options.minimum_fee, options.max_user_fee)
            if user.address in unknown:
                wait = Wait.UNKNOWN_SETTLEMENT
            if user.address in held:
                wait = Wait.IN_FLIGHT
            if wait is None:
                ready.append(user)
            self._waits[user.address] = wait or Wait.NOT_SENT
        self._report.lines = lines
        try:
            await self._send_all(in_order_of_risk(ready, stakes), service)
        except ServingError as error:
            self._report.stopped_by = error
        for user in users:
            line = lines[user.address]
            line.unsettled = user.open
            line.wait = self._waits[user.address] if user.open else None

    async def _unknown_settlements(self, service: Service) -> set[str]:
        """Users of whom the chain accepted a settlement that is not in the journal.

        The account's nonce does not reveal one with a lower nonce than a known settlement. All settlements since the
        last run are searched, and searched again until all of them are in the journal.
        """
        journal = self._journal
        since = journal.searched_block()
        if since is None:
            since = self._follower.final
        try:
            paid = await self._chain.paid_since(since, service.form, journal.sent_hashes(since))
        except RpcError as refusal:
            self._report.notes.append(
                f"The node did not return the events since block {since}: {refusal} Settlements from another journal"
                " are detected only if they made an account's nonce higher than this journal's."
            )
            return set()
        unknown, searched = set(), max(self._follower.final, since)
        for one in paid:
            user = journal.user(one.user)
            if user is None or journal.accepted_by(user, one.acceptance.transaction):
                continue
            if one.settlement is None or not journal.accepted(user, one.settlement.nonce):
                unknown.add(one.user)
                searched = min(searched, one.acceptance.block_number - 1)
        if not self._options.dry_run:
            journal.set_searched_block(searched)
        return unknown

    def _held(self) -> set[str]:
        """Users with an undecided settlement in a batch of an earlier run that may have a pending transaction."""
        decided = {one.batch.id for one in self._earlier if one.done and one.error is None}
        return {
            row.user.address
            for batch in self._journal.open_batches()
            if batch.id not in decided
            for row in batch.rows
            if not row.accepted
        }

    async def _look_up(self, users: Sequence[str]) -> None:
        for start in range(0, len(users), ACCOUNTS_AT_ONCE):
            self._progress("looking up accounts", start, len(users))
            self._accounts |= await self._chain.accounts(users[start : start + ACCOUNTS_AT_ONCE])

    def _line(self, user: UserState) -> UserLine:
        work = self._journal.open_work(user)
        return UserLine(user.address, work.requests, work.input_tokens, work.output_tokens, user.open)

    async def _send_all(self, users: Sequence[UserState], service: Service) -> None:
        """Send batches for these users, and follow them together with the batches of earlier runs.

        A batch that failed is sent again as two. The first failure is raised after everything sent has been followed.
        """
        rows = self._options.batch_rows or ROWS_AT_MOST[service.form]
        rows = min(rows, ROWS_AT_MOST[service.form])
        waiting = deque(list(users[start : start + rows]) for start in range(0, len(users), rows))
        flying: list[Followed] = []
        earlier = [one for one in self._earlier if not one.done]
        failures: list[ServingError] = []
        total = len(users)
        while waiting or flying:
            await self._fill(waiting, flying, service, failures)
            if not flying:
                break
            for one in await self._follower.next_done([*flying, *earlier]):
                if one in flying:
                    flying.remove(one)
                    failures += self._failures_of(one, waiting)
                else:
                    earlier.remove(one)
                    self._note_earlier(one)
            left = sum(map(len, waiting)) + sum(len(one.batch.rows) for one in flying)
            self._progress("settling", total - left, total)
        while earlier and (done := await self._follower.next_done(earlier, linger=self._options.patience)):
            for one in done:
                earlier.remove(one)
                self._note_earlier(one)
        for one in earlier:
            self._report.notes.append(
                f"Batch {one.batch.id} of an earlier run is still waiting for transaction"
                f" {one.batch.transactions[-1].hash}: run again, or cancel it with serving settlement cancel."
            )
        if failures:
            self._report.notes += [str(error) for error in failures[1:]]
            raise failures[0]

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
            self._waits[user.address] = Wait.NOT_SENT
        if len(users) == 1:
            return [followed.failed]
        waiting.extendleft(reversed(_halves(users)))
        return []

    def _note_earlier(self, followed: Followed) -> None:
        if followed.error is not None:
            why = (followed.error.message, followed.error.cause, followed.error.next_step)
            self._report.notes.append(
                " ".join([f"Batch {followed.batch.id} of an earlier run is still waiting:", *filter(None, why)])
            )
        elif followed.news:
            self._report.taken_up += 1

    async def _send(self, users: Sequence[UserState], service: Service) -> Batch | None:
        """Sign, preview and broadcast one batch; None if none of it may be signed or would be paid."""
        for _ in range(SIGNING_ATTEMPTS):
            head, nonce = await self._next_nonce()
            self._accounts |= await self._chain.accounts([user.address for user in users], head.number)
            made = [row for user in users if (row := self._row(user)) is not None]
            rows = await self._previewed(made, service)
            if self._options.dry_run or not rows:
                return None
            signed = self._sign([row.settlement for row in rows], service)
            transaction = await self._chain.prepare(
                signed, nonce, self._options.gas_limit, self._options.max_gas_price, worst_case_gas(len(rows))
            )
            if await self._follower.stands(head):
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
                return head, await self._follower.free_nonce(head)
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
            self._waits[row.user.address] = Wait.IN_FLIGHT
        await self._chain.broadcast(transaction)
        return batch

    def _row(self, user: UserState) -> SignedRow | None:
        """The settlement to sign for a user; None, with the reason in `_waits`, if nothing may be signed now."""
        account = self._accounts.get(user.address)
        if account is None:
            self._waits[user.address] = Wait.NO_ACCOUNT
            return None
        journal = self._journal
        turn = next_turn(self._clock(), user, account.nonce, journal.accepted_nonce(user), journal.live(user))
        if isinstance(turn, Wait):
            self._waits[user.address] = turn
            return None
        requests_hash, fee, requests = hash_requests(journal.charges(user, turn.limit))
        if turn.limit is None and fee != user.open:
            raise ServingError(
                f"The journal is not consistent: {user.address} has {user.open} wei open, but requests of {fee} wei.",
                cause="Nothing was sent for this user.",
                next_step=f"Keep {journal.path} and report this as a bug.",
            )
        if not fee:
            self._waits[user.address] = Wait.NOT_FINAL
            return None
        return SignedRow(
            user, UserSettlement(user.address, fee, turn.nonce, requests_hash), b"", requests, 0, user.paid
        )

    def _sign(self, settlements: Sequence[UserSettlement], service: Service) -> SignedSettlements:
        provider = self._chain.provider
        if service.form == "batch":
            digests = [self._domain.digest(TEESettlementBatch(provider, settlements))]
        else:
            digests = [self._domain.digest(TEESettlement(provider, row)) for row in settlements]
        return SignedSettlements(service.form, tuple(settlements), tuple(map(self._signer.sign_digest, digests)))

    async def _previewed(self, rows: list[SignedRow], service: Service) -> list[SignedRow]:
        """The rows that would be paid now, each with the expected payment. Sets the reason for the others."""
        while rows:
            outcomes = await self._chain.preview(self._sign([row.settlement for row in rows], service))
            kept = []
            for row, outcome in zip(rows, outcomes, strict=True):
                if outcome.paid:
                    kept.append(row._replace(expected_paid=outcome.paid))
                else:
                    self._waits[row.user.address] = wait_for(Status(outcome.status), 0) or Wait.REFUSED
            if len(kept) == len(rows):
                for row in kept:
                    self._report.lines[row.user.address].expected = row.expected_paid
                return kept
            rows = kept
        return []

    def _add_result(self, row: SignedRow, outcome: Outcome, gas: int, account: Account | None) -> None:
        """Add one result to the report."""
        status = Status(outcome.status)
        user = row.user.address
        self._waits[user] = wait_for(status, outcome.paid) or (Wait.NOT_SENT if row.user.open else Wait.NOTHING_DUE)
        line = self._report.lines.get(user)
        if line is None:
            self._report.taken_up_paid += outcome.paid
        else:
            line.status = status
            line.paid += outcome.paid
            line.gas += gas
        overtaken = status is Status.INVALID_NONCE and self._journal.accepted_nonce(row.user) >= row.settlement.nonce
        if outcome.paid != row.expected_paid and not overtaken:
            self._report.notes.append(_difference(row, outcome, account))


def _last_nonce(batch: Batch) -> int:
    """The highest nonce of the wallet among the batch's transactions."""
    return max(sent.nonce for sent in batch.transactions)


def _halves(users: list[UserState]) -> tuple[list[UserState], list[UserState]]:
    middle = len(users) // 2
    return users[:middle], users[middle:]


def _difference(row: SignedRow, outcome: Outcome, account: Account | None) -> str:
    """Why a settlement paid a different amount than its preview."""
    what = (
        f"{row.user.address}: the preview showed {describe(row.expected_paid)},"
        f" but the contract paid {describe(outcome.paid)}"
    )
    match Status(outcome.status):
        case Status.PARTIAL | Status.SUCCESS if outcome.paid < row.expected_paid:
            return f"{what}, because coins left the account in between (a refund unlocked and was withdrawn)."
        case Status.PARTIAL | Status.SUCCESS:
            return f"{what}, because coins were added to the account in between."
        case Status.NO_TEE_SIGNER:
            if account is not None and not account.acknowledged:
                return f"{what}, because the user revoked the acknowledgement in between."
            return f"{what}, because the owner revoked the confirmation or the service changed in between."
        case Status.INVALID_NONCE:
            return f"{what}, because another settlement with a higher nonce came first: is the TEE key used elsewhere?"
        case Status.PROVIDER_MISMATCH:
            return f"{what}, because the service was removed in between."
        case Status.INVALID_SIGNATURE:
            return f"{what}, because the TEE signer was changed or the account was deleted in between."
