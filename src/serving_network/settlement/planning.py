"""Who is settled in this run, in which order, and who has to wait for what.

First come the users whose money may be gone by the next run: a refund of theirs unlocks before it, soonest
first; then those whose open work exceeds their balance; then the others. Within each the largest fee first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from serving_network.clients.models import Account, Status
from serving_network.money import describe
from serving_network.settlement.chain import Service
from serving_network.settlement.journal import UserState

NONCE_LIMIT: Final = 2**64
"""Nonces from here on do not fit the account and are refused by the contract."""


class Wait(Enum):
    """Why a user's open requests stay open. The value is what must happen first."""

    NO_ACCOUNT = "The user has no account with the provider: the user funds the provider first."
    NOT_ACKNOWLEDGED = "The user has not acknowledged the TEE signer: the user funds the provider or acknowledges it."
    SIGNER_NOT_CONFIRMED = "The owner has not confirmed the TEE signer: the owner acknowledges it."
    NO_MONEY = "The user's account with the provider is empty: the user funds the provider."
    PAID_IN_PART = "The user's account held less than the fee: the user funds the provider."
    UNDER_MINIMUM = "The fee is under the minimum of a settlement: it waits until more is due."
    OVER_CAP = "The fee is over the cap for one user: check the log, then raise --max-user-fee."
    NONCE_EXHAUSTED = "The account's nonce is at its limit: no settlement can follow, the user opens another account."
    IN_FLIGHT = "A transaction that was sent is not mined yet: run again."
    NOT_FINAL = "An earlier payment is not final yet, and the rest is signed only then: run again later."
    UNKNOWN_SETTLEMENT = (
        "The account has a settlement that this journal does not know of, from another journal, an older copy or"
        " another program: run serving settlement adopt."
    )
    CHAIN_BEHIND = "The node shows an older state of the account than the journal: ask a node that is in sync."
    NOT_SENT = "The run ended before this user's settlement was sent: run again."
    REFUSED = "The contract refused the settlement: run again, and see serving doctor if it stays."
    NOTHING_DUE = "Nothing is due."


@dataclass(frozen=True, slots=True)
class Stake:
    """What is at stake with one user, in wei: open work against the balance and what the user asked back of it.

    `leaving` unlocks before the next settlement; `unlocks_at` is when the first of it does, in unix seconds.
    """

    open: int
    balance: int
    leaving: int
    unlocks_at: int | None

    @property
    def uncovered(self) -> int:
        """Open work that the balance does not pay even now."""
        return max(0, self.open - self.balance)

    @property
    def endangered(self) -> int:
        """Open work that would lose its cover if it were not settled before the refund unlocks."""
        return max(0, self.open - (self.balance - self.leaving)) - self.uncovered

    def warning(self) -> str | None:
        """One sentence for people, if there is something to say."""
        said = []
        if self.endangered:
            said.append(f"{describe(self.endangered)} of open work lose their cover when a refund unlocks")
        if self.uncovered:
            said.append(f"open work exceeds the balance by {describe(self.uncovered)}")
        return "; ".join(said) or None


def stake_of(user: UserState, account: Account | None, next_settlement: int) -> Stake:
    """What is at stake with a user whose account looks like this; `next_settlement` in unix seconds."""
    if account is None:
        return Stake(user.open, 0, 0, None)
    leaving = [refund for refund in account.refunds if refund.unlocks_at <= next_settlement]
    return Stake(
        user.open,
        account.balance,
        sum(refund.amount for refund in leaving),
        min((refund.unlocks_at for refund in leaving), default=None),
    )


def obstacle(user: UserState, account: Account | None, service: Service, minimum: int, cap: int) -> Wait | None:
    """What keeps a user from being settled now; None if nothing does. Amounts in wei."""
    if not user.open:
        return Wait.NOTHING_DUE
    if account is None:
        return Wait.NO_ACCOUNT
    if not account.acknowledged:
        return Wait.NOT_ACKNOWLEDGED
    if not service.confirmed:
        return Wait.SIGNER_NOT_CONFIRMED
    if user.open < minimum:
        return Wait.UNDER_MINIMUM
    if user.open > cap:
        return Wait.OVER_CAP
    if not account.balance:
        return Wait.NO_MONEY
    if account.nonce + 1 >= NONCE_LIMIT:
        return Wait.NONCE_EXHAUSTED
    return None


def in_order_of_risk(users: Sequence[UserState], stakes: Mapping[str, Stake]) -> list[UserState]:
    """The users, those first whose money may be gone first."""

    def urgency(user: UserState) -> tuple[int, int, int, str]:
        stake = stakes[user.address]
        if stake.endangered and stake.unlocks_at is not None:
            return 0, stake.unlocks_at, -user.open, user.address
        return (1 if stake.uncovered else 2), 0, -user.open, user.address

    return sorted(users, key=urgency)


def wait_for(status: Status, paid: int) -> Wait | None:
    """Why something stays open after this status; None if nothing does."""
    match status:
        case Status.SUCCESS:
            return None
        case Status.PARTIAL:
            return Wait.PAID_IN_PART if paid else Wait.NO_MONEY
        case Status.NO_TEE_SIGNER:
            return Wait.NOT_ACKNOWLEDGED
        case _:
            return Wait.REFUSED
