"""One settlement run, from log to report.

    take up what an earlier run sent -> read the log -> see who can be settled -> sign -> preview
    -> write down -> broadcast -> follow to the receipt -> book -> report

A run may be killed at any moment. What protects the money:

- A transaction is in the journal before it is broadcast, and users in a batch whose fate is not known are not
  signed for again. Such a batch is followed by its transaction hashes, by the wallet's nonce and by the events,
  and where its transaction was lost, the *same* signed settlements are carried again: their nonces let the
  contract take each once.
- Results are booked when they are as many blocks deep as asked for, and only if receipt and accounts agree.
- A block that is reorganised away later reopens its batches at the next run.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from serving_network.clients.models import Account, Status
from serving_network.errors import ServingError
from serving_network.money import describe
from serving_network.settlement.chain import (
    ROWS_AT_MOST,
    Head,
    Service,
    SettlementChain,
    SignedSettlements,
    TooMuchGas,
)
from serving_network.settlement.following import Follower
from serving_network.settlement.journal import Batch, Journal, JournalOfAnother, Outcome, SignedRow, UserState
from serving_network.settlement.options import Options
from serving_network.settlement.planning import (
    Wait,
    in_order_of_risk,
    next_nonce,
    obstacle,
    stake_of,
    wait_for,
)
from serving_network.settlement.pricing import Prices, hash_requests
from serving_network.settlement.report import Report, UserLine
from serving_network.settlement.signers import TeeSigner
from serving_network.settlement.typed_data import (
    INFERENCE_NAME,
    Domain,
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
)
from serving_network.settlement.usage import Reject, UsageLog, UsageRow

CHUNK_ROWS: Final = 10_000
ACCOUNTS_AT_ONCE: Final = 500
REORG_WINDOW: Final = 256
"""How many blocks back a run looks whether what it booked is still part of the chain."""


class NoService(ServingError):
    """The provider has no service on this contract, so there are no prices and nothing can be settled."""

    exit_code = 2


class WrongSigner(ServingError):
    """The TEE signer at hand is not the one that the provider's service names."""

    exit_code = 4


Progress = Callable[[str, int, int], None]
"""Told what is going on: a phase, how much of it is done, and how much there is (0 if that is not known)."""


def no_progress(phase: str, done: int, total: int) -> None:
    """Says nothing."""


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
        self._follower = Follower(chain, journal, self._options, self._report, self._tell)

    async def run(self, log: UsageLog | None) -> Report:
        """Settle what is open, and the log's requests with it.

        Failures that end the run early after something was sent are told in the report. Raises ServingError for
        those that come before: no service, another signer, another chain, a node that does not answer.
        """
        head = await self._chain.head()
        if not self._options.dry_run:
            await self._take_up(head)
        service = await self._chain.service()
        if service is None:
            raise NoService(
                f"{self._chain.provider} has no service on {self._chain.contract}.",
                cause="Without one there are no prices, and settlements after a removal are refused.",
                next_step="serving service register OFFER",
            )
        if log is not None:
            await self._read(log, Prices(service.input_price, service.output_price))
        if self._signer.address != service.tee_signer:
            raise WrongSigner(
                f"The TEE signer at hand is {self._signer.address}, the service names {service.tee_signer}.",
                cause="What it signs would be refused. All requests stay recorded and open.",
                next_step="Give the key of the signer that the service names, or update the service.",
            )
        await self._settle(service, head)
        self._report.books = await self._chain.books()
        return self._report

    # ---------------------------------------------------------------------------------- taking up

    async def _take_up(self, head: Head) -> None:
        """Bring what earlier runs sent to its end."""
        if head.number < self._journal.last_mined_block() - REORG_WINDOW:
            raise JournalOfAnother(
                f"The journal {self._journal.path} knows of block {self._journal.last_mined_block()},"
                f" the chain has only {head.number}.",
                cause="The node is far behind, or the chain was started anew.",
                next_step="Ask a node that is in step, or begin a new journal with --journal PATH.",
            )
        for batch, mined in self._journal.mined_since(head.number - REORG_WINDOW):
            if await self._chain.block_hash(mined.block_number) != mined.block_hash:
                self._journal.reopen_batch(batch)
                self._report.notes.append(
                    f"Block {mined.block_number} was reorganised away: its settlements were taken up again."
                )
        for batch in sorted(self._journal.open_batches(), key=lambda batch: batch.transactions[-1].nonce):
            self._progress("taking up", 0, 0)
            await self._follower.follow(batch)
            self._report.taken_up += 1

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
                await asyncio.sleep(0)  # where an interruption gets a hearing
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
        on_their_way = {row.user.address for batch in self._journal.open_batches() for row in batch.rows}
        options = self._options
        ready = []
        for user in users:
            account = self._accounts.get(user.address)
            wait = obstacle(user, account, service, options.minimum_fee, options.max_user_fee)
            if user.address in on_their_way:
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

    async def _look_up(self, users: Sequence[str]) -> None:
        for start in range(0, len(users), ACCOUNTS_AT_ONCE):
            self._progress("looking up accounts", start, len(users))
            self._accounts |= await self._chain.accounts(users[start : start + ACCOUNTS_AT_ONCE])

    def _line(self, user: UserState) -> UserLine:
        input_tokens, output_tokens = self._journal.open_tokens(user)
        return UserLine(user.address, user.open_requests, input_tokens, output_tokens, user.open)

    async def _send_all(self, users: Sequence[UserState], service: Service) -> None:
        rows = self._options.batch_rows or ROWS_AT_MOST[service.form]
        rows = min(rows, ROWS_AT_MOST[service.form])
        waiting = deque(list(users[start : start + rows]) for start in range(0, len(users), rows))
        flying: deque[Batch] = deque()
        total = len(users)
        try:
            while waiting or flying:
                while waiting and len(flying) < self._options.in_flight:
                    chunk = waiting.popleft()
                    try:
                        taken = max((batch.transactions[-1].nonce for batch in flying), default=-1)
                        batch = await self._send(chunk, service, taken + 1)
                    except TooMuchGas:
                        if len(chunk) == 1:
                            raise
                        middle = len(chunk) // 2
                        waiting.extendleft((chunk[middle:], chunk[:middle]))
                        continue
                    if batch is not None:
                        flying.append(batch)
                if flying:
                    await self._follower.follow(flying.popleft())
                left = sum(map(len, waiting)) + sum(len(batch.rows) for batch in flying)
                self._progress("settling", total - left, total)
        except ServingError:
            for batch in flying:
                await self._follower.follow(batch)
            raise

    async def _send(self, users: Sequence[UserState], service: Service, least_nonce: int) -> Batch | None:
        """Sign, preview and broadcast one batch; None if the preview leaves nothing to send.

        `least_nonce` is the first wallet nonce that no batch in flight uses.
        """
        rows = await self._previewed([self._row(user) for user in users], service)
        if self._options.dry_run or not rows:
            return None
        signed = self._sign([row.settlement for row in rows], service)
        options = self._options
        nonce = max(await self._chain.wallet_nonce(), least_nonce)
        transaction = await self._chain.prepare(signed, nonce, options.gas_limit, options.max_gas_price)
        head = await self._chain.head()
        whole = signed.form == "batch"
        batch = self._journal.add_batch(
            signed.form,
            self._signer.address,
            signed.signatures[0] if whole else b"",
            head.number,
            [
                row if whole else row._replace(signature=signature)
                for row, signature in zip(
                    rows, signed.signatures * len(rows) if whole else signed.signatures, strict=True
                )
            ],
            transaction,
        )
        for row in rows:
            self._waits[row.user.address] = Wait.IN_FLIGHT
        await self._chain.broadcast(transaction)
        return batch

    def _row(self, user: UserState) -> SignedRow:
        requests_hash, fee, requests = hash_requests(self._journal.charges(user))
        if fee != user.open:
            raise ServingError(
                f"The journal is not consistent: {user.address} has {user.open} wei open, but requests of {fee} wei.",
                next_step=f"Keep {self._journal.path} and report this: nothing was sent for this user.",
            )
        nonce = next_nonce(self._clock(), user, self._accounts[user.address])
        return SignedRow(user, UserSettlement(user.address, fee, nonce, requests_hash), b"", requests, 0)

    def _sign(self, settlements: Sequence[UserSettlement], service: Service) -> SignedSettlements:
        provider = self._chain.provider
        if service.form == "batch":
            digests = [self._domain.digest(TEESettlementBatch(provider, settlements))]
        else:
            digests = [self._domain.digest(TEESettlement(provider, row)) for row in settlements]
        return SignedSettlements(service.form, tuple(settlements), tuple(map(self._signer.sign_digest, digests)))

    async def _previewed(self, rows: list[SignedRow], service: Service) -> list[SignedRow]:
        """The rows that would be paid now, each with what is expected. The others are told why they wait."""
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

    def _tell(self, row: SignedRow, outcome: Outcome, gas: int, account: Account | None) -> None:
        """Enter one result into the report."""
        status = Status(outcome.status)
        user = row.user.address
        self._waits[user] = wait_for(status, outcome.paid) or Wait.NOTHING_DUE
        line = self._report.lines.get(user)
        if line is None:
            self._report.taken_up_paid += outcome.paid
        else:
            line.status = status
            line.paid += outcome.paid
            line.gas += gas
        if outcome.paid != row.expected_paid:
            self._report.notes.append(_difference(row, outcome, account))


def _difference(row: SignedRow, outcome: Outcome, account: Account | None) -> str:
    """Why a settlement paid something else than its preview said."""
    what = f"{row.user.address}: the preview said {describe(row.expected_paid)}, {describe(outcome.paid)} were paid"
    match Status(outcome.status):
        case Status.PARTIAL | Status.SUCCESS if outcome.paid < row.expected_paid:
            return f"{what}, because coins left the account in between (a refund unlocked and was taken)."
        case Status.PARTIAL | Status.SUCCESS:
            return f"{what}, because coins came into the account in between."
        case Status.NO_TEE_SIGNER:
            if account is not None and not account.acknowledged:
                return f"{what}, because the user took the acknowledgement back in between."
            return f"{what}, because the owner took the confirmation back, or the service changed, in between."
        case Status.INVALID_NONCE:
            return f"{what}, because another settlement with a higher nonce came first: is the key used elsewhere?"
        case Status.PROVIDER_MISMATCH:
            return f"{what}, because the service was removed in between."
        case Status.INVALID_SIGNATURE:
            return f"{what}, because the TEE signer was changed or the account was deleted in between."
