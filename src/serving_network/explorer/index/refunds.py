# SPDX-License-Identifier: Apache-2.0
"""An account's pending refunds, as the contracts keep them: docs/specification.md, "Refunds"."""

from __future__ import annotations

from typing import Final

from serving_network.explorer.index.rows import Refund

_MOST: Final = 5

Refunds = tuple[Refund, ...]


def requested(refunds: Refunds, amount: int, time: int) -> Refunds:
    """Request a refund. The sixth is added to the newest one, whose lock time starts again."""
    if amount <= 0:
        return refunds
    if len(refunds) < _MOST:
        return (*refunds, Refund(amount, time))
    return (*refunds[:-1], Refund(refunds[-1].amount + amount, time))


def cancelled(refunds: Refunds, pending: int) -> Refunds:
    """Reduce refunds to a sum of `pending`, newest first. A reduced refund keeps its age."""
    excess = sum(one.amount for one in refunds) - pending
    left = list(refunds)
    while excess > 0 and left:
        newest = left.pop()
        if newest.amount > excess:
            left.append(Refund(newest.amount - excess, newest.created_at))
        excess -= newest.amount
    return tuple(left)


def paid(refunds: Refunds, pending: int) -> Refunds:
    """Pay refunds whose lock time is over, the oldest ones, until a sum of `pending` is left."""
    excess = sum(one.amount for one in refunds) - pending
    left = list(refunds)
    while excess > 0 and left:
        oldest = left.pop(0)
        if oldest.amount > excess:
            left.insert(0, Refund(oldest.amount - excess, oldest.created_at))
        excess -= oldest.amount
    return tuple(left)
