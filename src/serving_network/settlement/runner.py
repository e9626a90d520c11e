# SPDX-License-Identifier: Apache-2.0
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

import time
from collections.abc import Callable, Sequence
from typing import Final

from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Account, Status
from serving_network.errors import RpcError, ServingError
from serving_network.messages.prices import Prices
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.messages.usage import Reject
from serving_network.money import describe
from serving_network.settlement.chain import Head, Service, SettlementChain
from serving_network.settlement.following import Follower
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import SignedRow, UserState
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Wait, in_order_of_risk, obstacle, stake_of, wait_for
from serving_network.settlement.recording import RowSource, record
from serving_network.settlement.report import Progress, Report, UserLine, no_progress
from serving_network.settlement.resuming import EarlierRuns
from serving_network.settlement.sending import Sender

ACCOUNTS_AT_ONCE: Final = 2_000


class NoService(ServingError):
    """The provider has no service on this contract, so there are no prices and nothing can be settled."""

    exit_code = 2


class WrongSigner(ServingError):
    """The TEE key in use does not belong to the signer of the provider's service."""

    exit_code = 4


class JournalOfGateway(ServingError):
    """The journal has requests with receipts, and a log has none."""

    exit_code = 2


class Settlement:
    """One run. Use `run` once."""

    def __init__(
        self,
        chain: SettlementChain,
        journal: Journal,
        signer: AttestedSigner,
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
        self._report = Report(chain.chain_id, chain.contract, chain.provider)
        self._follower = Follower(chain, journal, self._options, self._report, self._add_result)
        self._earlier = EarlierRuns(chain, journal, self._follower, self._report, progress)
        self._sender = Sender(
            chain,
            journal,
            signer,
            self._options,
            self._report,
            follower=self._follower,
            earlier=self._earlier,
            progress=progress,
            clock=clock,
        )

    async def run(self, rows: RowSource | None) -> Report:
        """Record these requests and settle everything that is open; without `rows`, settle what earlier runs recorded.

        A failure while settling ends the run early and is stored in the report. Raises ServingError for earlier
        failures: no service, wrong signer, another chain, or a node that does not respond.
        """
        head = await self._chain.head()
        self._follower.wallet.final = await self._chain.final_block(self._options.final_depth)
        if not self._options.dry_run:
            await self._earlier.resume(head)
        service = await self._chain.service()
        if service is None:
            raise NoService(
                f"{self._chain.provider} has no service on {self._chain.contract}.",
                cause="Without a service there are no prices, and the contract refuses settlements.",
                next_step="serving service register OFFER",
            )
        prices = Prices(service.input_price, service.output_price, service.cached_divisor)
        self._report.new_requests += self._journal.take_served(prices)
        if rows is not None:
            if self._journal.has_served():
                raise JournalOfGateway(
                    "This journal is a gateway's, so it takes no usage log.",
                    cause="A settlement with requests of a log could not be checked against the users' receipts.",
                    next_step="Leave the log out, or settle it with a journal of its own: --journal PATH",
                )
            await record(rows, self._journal, prices, self._report, reject=self._reject, progress=self._progress)
        if self._signer.address != service.tee_signer:
            raise WrongSigner(
                f"The TEE key belongs to {self._signer.address}, but the service's signer is {service.tee_signer}.",
                cause="The contract would refuse its signatures. All requests stay recorded and open.",
                next_step="Use the key of the service's signer, or update the service.",
            )
        await self._settle(service, head)
        return self._report

    async def _settle(self, service: Service, head: Head) -> None:
        users = [user for user in self._journal.users() if user.open]
        accounts = await self._look_up([user.address for user in users])
        due = max(int(self._clock()), head.timestamp) + self._options.interval
        stakes = {user.address: stake_of(user, accounts.get(user.address), due) for user in users}
        lines = {user.address: self._line(user) for user in users}
        for user in users:
            lines[user.address].stake = stakes[user.address]
        held = self._earlier.holds()
        unknown = await self._unknown_settlements(service)
        options = self._options
        ready, freed_later = [], {}
        for user in users:
            wait = obstacle(user, accounts.get(user.address), service, options.minimum_fee, options.max_user_fee)
            if user.address in unknown:
                wait = Wait.UNKNOWN_SETTLEMENT
            elif user.address in held:
                wait = Wait.IN_FLIGHT
                freed_later[user.address] = user
            if wait is None:
                ready.append(user)
            self._sender.waits[user.address] = wait or Wait.NOT_SENT
        self._report.lines = lines
        self._report.other_units = self._journal.open_units()
        try:
            await self._sender.send_all(in_order_of_risk(ready, stakes), freed_later, service)
        except ServingError as error:
            self._report.stopped_by = error
        for user in users:
            line = lines[user.address]
            line.unsettled = user.open
            line.wait = self._sender.waits[user.address] if user.open else None

    async def _unknown_settlements(self, service: Service) -> set[str]:
        """Users of whom the chain accepted a settlement that is not in the journal.

        The account's nonce does not reveal one with a lower nonce than a known settlement. All settlements since the
        last run are searched, and searched again until all of them are in the journal.
        """
        journal = self._journal
        since = journal.searched_block()
        if since is None:
            since = self._follower.wallet.final
        try:
            paid = await self._chain.paid_since(since, service.form, journal.sent_hashes(since))
        except RpcError as refusal:
            self._report.notes.append(
                f"The node did not return the events since block {since}: {refusal} Settlements from another journal"
                " are detected only if they made an account's nonce higher than this journal's."
            )
            return set()
        unknown, searched = set(), max(self._follower.wallet.final, since)
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

    async def _look_up(self, users: Sequence[str]) -> dict[str, Account]:
        """The users' accounts with the provider. Users without an account are omitted."""
        accounts: dict[str, Account] = {}
        for start in range(0, len(users), ACCOUNTS_AT_ONCE):
            self._progress("looking up accounts", start, len(users))
            accounts |= await self._chain.accounts(users[start : start + ACCOUNTS_AT_ONCE])
        return accounts

    def _line(self, user: UserState) -> UserLine:
        work = self._journal.open_work(user)
        return UserLine(user.address, work.requests, work.input_tokens, work.output_tokens, user.open)

    def _add_result(self, row: SignedRow, outcome: Outcome, gas: int, account: Account | None) -> None:
        """Add one result to the report."""
        status = Status(outcome.status)
        user = row.user.address
        self._sender.waits[user] = wait_for(status, outcome.paid) or (
            Wait.NOT_SENT if row.user.open else Wait.NOTHING_DUE
        )
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
