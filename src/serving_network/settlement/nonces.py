# SPDX-License-Identifier: Apache-2.0
"""Choose the nonce of a user's next settlement. These rules prevent charging a user twice.

The contract accepts a settlement only if its nonce is higher than the account's. Two signed settlements of one user
with the same nonce can therefore never both be paid, regardless of batch and signature. A settlement is live if it is
signed and neither final nor dead. The rules for live settlements are:

- As long as one of them may still be accepted, a new settlement takes the same nonce: one of the two is paid.
- A higher nonce is signed only for wei that no live settlement covers: after one that was paid in full, for what
  came since; after one that was paid in part, only when that payment is final, because after a reorganisation the
  same settlement may pay more than before. The same holds after one that was paid in full while another with its
  nonce covers more: a reorganisation may have that one accepted instead.
- A settlement below another live one covers no more than the wei in front of that one. If these are paid otherwise,
  by a settlement that was adopted, that other one's nonce is next.

As a result, live settlements with different nonces never cover the same wei, whatever happens on chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from serving_network.settlement.journal.records import LiveSettlement, UserState
from serving_network.settlement.planning import Wait

NONCE_PER_SECOND: Final = 10**7


class Turn(NamedTuple):
    """A settlement may be signed for a user with this nonce, for at most `limit` wei (None: everything open)."""

    nonce: int
    limit: int | None


def next_turn(
    now: float, user: UserState, account_nonce: int, accepted_nonce: int, live: Sequence[LiveSettlement]
) -> Turn | Wait:
    """The user's next nonce, or the reason why nothing may be signed for the user now.

    `now` is in unix seconds. `account_nonce` is the account's nonce in the newest block, `accepted_nonce` the highest
    nonce accepted according to the journal, and `live` is sorted by nonce. None of the user's settlements may be in a
    batch that is still being followed.
    """
    if account_nonce < accepted_nonce:
        return Wait.CHAIN_BEHIND
    if account_nonce > accepted_nonce:
        return Wait.UNKNOWN_SETTLEMENT
    for nonce in sorted({one.nonce for one in live if not _paid_in_full(one.nonce, live)}):
        if nonce <= account_nonce:
            return Wait.NOT_FINAL
        above = [one.paid_before for one in live if one.nonce > nonce]
        limit = min(above) - user.paid if above else None
        paid_otherwise = all(_end(one) <= user.paid for one in live if one.nonce == nonce)
        if limit is None or limit > 0 or not paid_otherwise:
            return Turn(nonce, limit)
    return Turn(max(int(now * NONCE_PER_SECOND), user.last_nonce + 1, account_nonce + 1), None)


def _paid_in_full(nonce: int, live: Sequence[LiveSettlement]) -> bool:
    """Whether a settlement with this nonce was paid in full, and no live one with it covers wei beyond that.

    After a reorganisation another one with the nonce may be accepted instead.
    """
    same = [one for one in live if one.nonce == nonce]
    paid_up_to = max((_end(one) for one in same if one.in_full), default=None)
    return paid_up_to is not None and all(_end(one) <= paid_up_to for one in same)


def _end(one: LiveSettlement) -> int:
    """Where in the user's queue a settlement ends, in wei."""
    return one.paid_before + one.fee
