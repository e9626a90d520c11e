# SPDX-License-Identifier: Apache-2.0
"""Decide who is settled in this run, in which order, and who has to wait for what.

Users whose funds may be gone by the next run come first: a refund unlocks before it, soonest first. Users whose open
work exceeds their balance come next, then all others. Within each group, the largest fee comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from serving_network.contracts.models import Account, Status
from serving_network.money import rounded
from serving_network.settlement.chain import Service
from serving_network.settlement.journal.records import UserState

NONCE_LIMIT: Final = 2**64
"""Nonces from this value on do not fit into an account and are refused by the contract."""


class Wait(Enum):
    """Why a user's open requests stay open. The value is the reason and what must happen first."""

    NO_ACCOUNT = "The user has no account with this provider: the user must fund the provider first."
    NOT_ACKNOWLEDGED = (
        "The user has not acknowledged the TEE signer: the user must acknowledge it or fund the provider."
    )
    SIGNER_NOT_CONFIRMED = "The owner has not confirmed the TEE signer: the owner must confirm it."
    NO_MONEY = "The user's account with this provider is empty: the user must fund the provider."
    PAID_IN_PART = "The user's balance did not cover the fee: the user must fund the provider."
    UNDER_MINIMUM = "The fee is below the minimum for a settlement: it stays open until more is due."
    OVER_CAP = "The fee is above the cap for one user: check the log, then raise --max-user-fee."
    NONCE_EXHAUSTED = (
        "The account's nonce has reached its limit and allows no more settlements: the user must open another account."
    )
    IN_FLIGHT = "The transaction was sent but is not mined yet: run again."
    NOT_FINAL = "An earlier payment is not final yet, and the remainder is signed only after that: run again later."
    UNKNOWN_SETTLEMENT = (
        "The account has a settlement that is not in this journal, sent from another journal, an older copy or another"
        " program: run serving settlement adopt."
    )
    CHAIN_BEHIND = "The node's state of the account is older than the journal: use a node that is in sync."
    NOT_SENT = "The run ended before this user's settlement was sent: run again."
    REFUSED = "The contract refused the settlement: run again. If it is refused again, run serving doctor."
    NOTHING_DUE = "Nothing is due."


@dataclass(frozen=True, slots=True)
class Stake:
    """The risk with one user, in wei: open work against the balance and the refunds requested from it.

    `leaving` unlocks before the next settlement, the first part of it at `unlocks_at`, in unix seconds.
    """

    open: int
    balance: int
    leaving: int
    unlocks_at: int | None

    @property
    def uncovered(self) -> int:
        """Open work that the balance does not cover even now."""
        return max(0, self.open - self.balance)

    @property
    def endangered(self) -> int:
        """Open work that will no longer be covered unless it is settled before the refund unlocks."""
        return max(0, self.open - (self.balance - self.leaving)) - self.uncovered

    def warning(self, amount: Callable[[int], str] = rounded) -> str | None:
        """A warning for people, if there is a risk; `amount` writes the wei."""
        said = []
        if self.endangered:
            said.append(f"{amount(self.endangered)} of open work will not be covered once a refund unlocks")
        if self.uncovered:
            said.append(f"open work exceeds the balance by {amount(self.uncovered)}")
        return "; ".join(said) or None


def stake_of(user: UserState, account: Account | None, next_settlement: int) -> Stake:
    """The risk with a user who has this account. `next_settlement` is in unix seconds."""
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
    """The reason why a user cannot be settled now; None if there is none. Amounts are in wei."""
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
    """The users, sorted so that those whose funds may be gone first come first."""

    def urgency(user: UserState) -> tuple[int, int, int, str]:
        stake = stakes[user.address]
        if stake.endangered and stake.unlocks_at is not None:
            return 0, stake.unlocks_at, -user.open, user.address
        return (1 if stake.uncovered else 2), 0, -user.open, user.address

    return sorted(users, key=urgency)


def wait_for(status: Status, paid: int) -> Wait | None:
    """The reason why something stays open after this status; None if nothing does."""
    match status:
        case Status.SUCCESS:
            return None
        case Status.PARTIAL:
            return Wait.PAID_IN_PART if paid else Wait.NO_MONEY
        case Status.NO_TEE_SIGNER:
            return Wait.NOT_ACKNOWLEDGED
        case _:
            return Wait.REFUSED
