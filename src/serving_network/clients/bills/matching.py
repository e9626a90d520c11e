# SPDX-License-Identifier: Apache-2.0
"""Match settlements on chain with receipts.

Settlements pay for receipts in their sequence. One begins where the previous one ended, and may stop within a receipt,
whose input counts as paid first. Its calldata holds the fee and the requests hash; the receipts that it covers are
those from which both can be recomputed.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from serving_network.messages.prices import count_covered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serving_network.clients.settled import Settled
    from serving_network.messages.prices import Charge
    from serving_network.messages.receipts import Receipt
    from serving_network.messages.typed_data import UserSettlement

MAX_STARTS: Final = 1_000
"""Receipts tried as the first one of a settlement that does not begin where the previous one ended."""


MAX_STEPS: Final = 20_000_000
"""Receipts hashed in vain for a bill. A provider could sign a million that cost nothing, to make it take days."""


class Coverage(StrEnum):
    """What receipts say about the coins of a settlement."""

    COVERED = "covered"
    UNCOVERED = "no receipt"
    UNREADABLE = "not readable"  # the provider called through a contract


@dataclass(frozen=True, slots=True)
class Payment:
    """A settlement, and the sequences of the first and last receipt that it covers."""

    settled: Settled
    coverage: Coverage
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """All payments, and how many wei of each receipt they paid."""

    payments: tuple[Payment, ...]
    paid: tuple[int, ...]


class _Place(NamedTuple):
    """A place in the queue of receipts: `paid` wei of the receipt `number`, counted from 0, are before it."""

    number: int
    paid: int = 0


def match(receipts: Sequence[Receipt], settled: Sequence[Settled]) -> Matches:
    """Match settlements in the order of the chain with receipts in their sequence."""
    queue = _Queue(receipts)
    payments: list[Payment] = []
    place, unmatched = _Place(0), 0
    for one in settled:
        found = None if one.settlement is None else queue.find(one.settlement, place, unmatched)
        if found is None:
            unmatched += one.outcome.paid
            coverage = Coverage.UNREADABLE if one.settlement is None else Coverage.UNCOVERED
            payments.append(Payment(one, coverage))
            continue
        start, count = found
        covered = receipts[start.number : start.number + count]
        first, last = (covered[0].sequence, covered[-1].sequence) if covered else (None, None)
        payments.append(Payment(one, Coverage.COVERED, first, last))
        place, unmatched = queue.pay(start, one.outcome.paid), 0
    return Matches(tuple(payments), tuple(queue.paid))


class _Queue:
    """The receipts in their sequence, and what is paid of each."""

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._receipts = receipts
        self._before = [0, *accumulate(receipt.fee for receipt in receipts)]
        self._sums = frozenset(self._before)
        self.paid = [0] * len(receipts)
        self._steps = 0

    def find(self, row: UserSettlement, place: _Place, unmatched: int) -> tuple[_Place, int] | None:
        """Where the receipts of a settlement begin, and how many it covers."""
        if self._steps >= MAX_STEPS:
            return None
        fits = (one for one in self._starts(place, unmatched) if self._at(one) + row.total_fee in self._sums)
        for start in islice(fits, MAX_STARTS):
            before = self._steps
            count = count_covered(self._charges(start), row.total_fee, row.requests_hash)
            if count is not None:
                self._steps = before
                return start, count
            if self._steps >= MAX_STEPS:
                break
        return None

    def pay(self, place: _Place, amount: int) -> _Place:
        """Add an amount to what is paid of the receipts from a place on. Returns the place after it."""
        end = self._after(self._at(place) + amount)
        for number in range(place.number, min(end.number + 1, len(self._receipts))):
            before = place.paid if number == place.number else 0
            upto = end.paid if number == end.number else self._receipts[number].fee
            self.paid[number] += upto - before
        return end

    def _starts(self, place: _Place, unmatched: int) -> Iterator[_Place]:
        """Where a settlement can begin: at the end of the previous one, after coins that were not matched, or later.

        It begins later if a settlement in between could not be matched, or if the provider voided receipts.
        """
        yield place
        if unmatched:
            yield self._after(self._at(place) + unmatched)
        yield from (_Place(number) for number in range(place.number + 1, len(self._receipts)))

    def _charges(self, start: _Place) -> Iterator[Charge]:
        for number in range(start.number, len(self._receipts)):
            self._steps += 1
            charge = self._receipts[number].charge()
            yield charge.less(start.paid) if number == start.number else charge

    def _at(self, place: _Place) -> int:
        """The wei before a place."""
        return self._before[place.number] + place.paid

    def _after(self, wei: int) -> _Place:
        """The first place after so many wei: before receipts that cost nothing, which a later settlement may cover."""
        wei = min(wei, self._before[-1])
        number = bisect_left(self._before, wei)
        return _Place(number) if self._before[number] == wei else _Place(number - 1, wei - self._before[number - 1])
