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

from serving_network.messages.prices import count_covered, hash_requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serving_network.clients.settled import Settled
    from serving_network.messages.prices import Charge
    from serving_network.messages.receipts import Receipt
    from serving_network.messages.typed_data import UserSettlement

MAX_STARTS: Final = 1_000
"""Receipts tried as the first one of a settlement that does not begin where the previous one ended."""

MAX_VOIDS: Final = 200
"""Groups of receipts tried as those that the provider voided, and that a settlement leaves out."""

VOID_WINDOW: Final = 500
"""Receipts that a settlement with voided ones can span."""

MAX_STEPS: Final = 20_000_000
"""Receipts hashed in vain for a bill. A provider could sign a million that cost nothing, to make it take days."""


class Coverage(StrEnum):
    """What receipts say about the coins of a settlement."""

    COVERED = "covered"
    UNCOVERED = "no receipt"
    UNREADABLE = "not readable"  # the provider called through a contract


@dataclass(frozen=True, slots=True)
class Payment:
    """A settlement, and the sequences of the first and last receipt that it covers.

    `voided` are the sequences between them that it leaves out: the provider does not charge them.
    """

    settled: Settled
    coverage: Coverage
    first: int | None = None
    last: int | None = None
    voided: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Matches:
    """All payments, and how many wei of each receipt they paid."""

    payments: tuple[Payment, ...]
    paid: tuple[int, ...]


class _Place(NamedTuple):
    """A place in the queue of receipts: `paid` wei of the receipt `number`, counted from 0, are before it."""

    number: int
    paid: int = 0


class _Found(NamedTuple):
    """The receipts that a settlement covers: from a place to before the receipt `end`, without those `voided`."""

    start: _Place
    end: int
    voided: range = range(0)


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
        covered = [receipts[number].sequence for number in range(found.start.number, found.end)]
        first, last = (covered[0], covered[-1]) if covered else (None, None)
        voided = tuple(receipts[number].sequence for number in found.voided)
        payments.append(Payment(one, Coverage.COVERED, first, last, voided))
        place, unmatched = queue.pay(found, one.outcome.paid), 0
    return Matches(tuple(payments), tuple(queue.paid))


class _Queue:
    """The receipts in their sequence, and what is paid of each."""

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._receipts = receipts
        self._before = [0, *accumulate(receipt.fee for receipt in receipts)]
        self._sums = frozenset(self._before)
        self.paid = [0] * len(receipts)
        self._steps = 0

    def find(self, row: UserSettlement, place: _Place, unmatched: int) -> _Found | None:
        """The receipts that a settlement covers; None if there are none, or after too many vain attempts."""
        before = self._steps
        found = self._search(row, place, unmatched) if before < MAX_STEPS else None
        if found is not None:
            self._steps = before
        return found

    def _search(self, row: UserSettlement, place: _Place, unmatched: int) -> _Found | None:
        fits = (one for one in self._starts(place, unmatched) if self._at(one) + row.total_fee in self._sums)
        for start in islice(fits, MAX_STARTS):
            count = count_covered(self._charges(start), row.total_fee, row.requests_hash)
            if count is not None:
                return _Found(start, start.number + count)
            if self._steps >= MAX_STEPS:
                return None
        candidates = islice(self._with_voids(row.total_fee, place), MAX_VOIDS)
        return next((one for one in candidates if self._hash(one) == row.requests_hash), None)

    def pay(self, found: _Found, amount: int) -> _Place:
        """Add an amount to what is paid of the receipts from a place on. Returns the place after it."""
        number, before = found.start
        while number < len(self._receipts):
            if number not in found.voided:
                due = self._receipts[number].fee - before
                if not amount or amount < due:
                    self.paid[number] += amount
                    break
                self.paid[number] += due
                amount -= due
            number, before = number + 1, 0
        return _Place(number, before + amount if number < len(self._receipts) else 0)

    def _with_voids(self, fee: int, start: _Place) -> Iterator[_Found]:
        """Receipts from a place on that cost this fee if some of them, one after the other, are voided."""
        begin = start.number + (start.paid > 0)
        for end in range(begin + 1, min(len(self._receipts), start.number + VOID_WINDOW) + 1):
            excess = self._before[end] - self._at(start) - fee
            for first in range(begin, end if excess > 0 else begin):
                self._steps += 1
                until = bisect_left(self._before, self._before[first] + excess, first)
                if until > end:
                    break
                if self._receipts[first].fee and self._before[until] == self._before[first] + excess:
                    yield _Found(start, end, range(first, until))

    def _hash(self, found: _Found) -> bytes:
        numbered = zip(range(found.start.number, found.end), self._charges(found.start), strict=False)
        return hash_requests(charge for number, charge in numbered if number not in found.voided)[0]

    def _starts(self, place: _Place, unmatched: int) -> Iterator[_Place]:
        """Where a settlement can begin: at the end of the previous one, after coins that were not matched, or later.

        It begins later if a settlement in between could not be matched, or if the provider voided receipts before it.
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
        """The first place with this sum before it. Receipts that cost nothing come after it: a later settlement may
        cover them."""
        wei = min(wei, self._before[-1])
        number = bisect_left(self._before, wei)
        return _Place(number) if self._before[number] == wei else _Place(number - 1, wei - self._before[number - 1])
