# SPDX-License-Identifier: Apache-2.0
"""Match settlements on chain with receipts.

Settlements pay for receipts in their sequence. One begins where the previous one ended, and may stop within a receipt,
whose input counts as paid first. Its calldata holds the fee and the requests hash; the receipts that it covers are
those from which both can be recomputed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, chain, islice
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

VOID_WINDOW: Final = 500
"""Receipts that a settlement with voided ones can span."""

MAX_VOID_STEPS: Final = 1_000_000
"""Ways to leave out receipts that are tried for a settlement. Up to 20 receipts, that is all there are."""

MAX_VOIDS: Final = 64
"""Receipts that one settlement can leave out, if they do not follow each other."""

MAX_BILL_VOID_STEPS: Final = 10 * MAX_VOID_STEPS
"""The same for a bill."""

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

    `voided` are the sequences between them that it leaves out: the provider never charges them.
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
    voided: tuple[int, ...] = ()


def match(receipts: Sequence[Receipt], settled: Sequence[Settled]) -> Matches:
    """Match settlements in the order of the chain with receipts in their sequence."""
    queue = _Queue(receipts)
    payments: list[Payment] = []
    place, covered = _Place(0), 0
    unmatched, missing = 0, False
    for one in settled:
        found = None if one.settlement is None else queue.find(one.settlement, place, unmatched)
        if found is None:
            unmatched, missing = unmatched + one.outcome.paid, True
            coverage = Coverage.UNREADABLE if one.settlement is None else Coverage.UNCOVERED
            payments.append(Payment(one, coverage))
            continue
        start, end, voided = queue.leave_out(found, None if missing else place)
        first, last = queue.sequences(start, end)
        voided |= queue.left_out(first, last, covered)
        payments.append(Payment(one, Coverage.COVERED, first, last, tuple(sorted(voided))))
        place, unmatched, missing = queue.pay(start, one.outcome.paid), 0, False
        covered = max(covered, last or 0)
    return Matches(tuple(payments), queue.paid_of_all(receipts))


class _Queue:
    """The receipts in their sequence, without those that are known to be voided, and what is paid of each."""

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._receipts = list(receipts)
        self._paid: Counter[int] = Counter()
        self._voided: set[int] = set()
        self._steps = 0
        self._void_steps = self._until = 0
        self._sum()

    def _sum(self) -> None:
        self._before = [0, *accumulate(receipt.fee for receipt in self._receipts)]
        self._sums = frozenset(self._before)

    def find(self, row: UserSettlement, place: _Place, unmatched: int) -> _Found | None:
        """The receipts that a settlement covers; None if there are none, or after too many vain attempts."""
        before = self._steps
        found = self._directly(row, place, unmatched) if self._steps < MAX_STEPS else None
        if found is not None:
            self._steps = before
            return found
        return self._around_voids(row, place) if row.total_fee else None

    def _directly(self, row: UserSettlement, place: _Place, unmatched: int) -> _Found | None:
        fits = (one for one in self._starts(place, unmatched) if self._at(one) + row.total_fee in self._sums)
        for start in islice(fits, MAX_STARTS):
            count = count_covered(self._charges(start), row.total_fee, row.requests_hash)
            if count is not None:
                return _Found(start, start.number + count)
            if self._steps >= MAX_STEPS:
                return None
        return None

    def _around_voids(self, row: UserSettlement, place: _Place) -> _Found | None:
        before = self._void_steps
        self._until = min(before + MAX_VOID_STEPS, MAX_BILL_VOID_STEPS)
        for found in chain(self._with_a_gap(row.total_fee, place), self._with_voids(row.total_fee, place)):
            if self._void_steps >= self._until:
                return None
            if self._hash(found) == row.requests_hash:
                self._void_steps = before
                return found
        return None

    def leave_out(self, found: _Found, place: _Place | None) -> tuple[_Place, int, set[int]]:
        """Take what is voided out of the queue. Returns where the settlement begins and ends then, and what was taken.

        Where nothing but voided receipts can be between the end of the previous settlement and this one, `place` is
        this end.
        """
        skipped: list[int] = []
        if place is not None:
            between = range(place.number + (place.paid > 0), found.start.number)
            skipped = [number for number in between if self._receipts[number].fee]
        taken = {self._receipts.pop(number).sequence for number in sorted({*skipped, *found.voided}, reverse=True)}
        if taken:
            self._voided |= taken
            self._sum()
        start = found.start._replace(number=found.start.number - len(skipped))
        return start, found.end - len(taken), taken

    def left_out(self, first: int | None, last: int | None, covered: int) -> set[int]:
        """The sequences that a settlement of these receipts leaves out, or skips behind those `covered` before it."""
        if first is None or last is None:
            return set()
        return {one for one in self._voided if min(first, covered) < one < last}

    def sequences(self, start: _Place, end: int) -> tuple[int | None, int | None]:
        """The first and the last sequence of these receipts, if there are any."""
        covered = [one.sequence for one in self._receipts[start.number : end]]
        return (covered[0], covered[-1]) if covered else (None, None)

    def pay(self, place: _Place, amount: int) -> _Place:
        """Add an amount to what is paid of the receipts from a place on. Returns the place after it."""
        number, before = place
        while number < len(self._receipts):
            receipt = self._receipts[number]
            due = receipt.fee - before
            if not amount or amount < due:
                self._paid[receipt.sequence] += amount
                break
            self._paid[receipt.sequence] += due
            amount -= due
            number, before = number + 1, 0
        return _Place(number, before + amount if number < len(self._receipts) else 0)

    def paid_of_all(self, receipts: Sequence[Receipt]) -> tuple[int, ...]:
        """How many wei of each of these receipts were paid."""
        return tuple(self._paid[one.sequence] for one in receipts)

    def _with_a_gap(self, fee: int, start: _Place) -> Iterator[_Found]:
        """Receipts from a place on that cost this fee if some of them, one after the other, are voided."""
        begin = start.number + (start.paid > 0)
        for end in range(begin + 1, min(len(self._receipts), start.number + VOID_WINDOW) + 1):
            excess = self._before[end] - self._at(start) - fee
            for first in range(begin, end if excess > 0 else begin):
                self._void_steps += 1
                until = bisect_left(self._before, self._before[first] + excess, first)
                if until > end:
                    break
                if self._receipts[first].fee and self._before[until] == self._before[first] + excess:
                    yield _Found(start, end, tuple(range(first, until)))

    def _with_voids(self, fee: int, start: _Place) -> Iterator[_Found]:
        """Receipts from a place on that cost this fee if any of them are voided: first one, then two, and so on.

        The last receipt is never voided, since a settlement ends before what it leaves out.
        """
        begin = start.number + (start.paid > 0)
        last = min(len(self._receipts), start.number + VOID_WINDOW)
        for number in range(1, min(last - begin, MAX_VOIDS + 1)):
            for voided, end in self._choices(begin, last, self._at(start) + fee, number):
                yield _Found(start, end, voided)
            if self._void_steps >= self._until:
                return

    def _choices(self, first: int, last: int, wanted: int, number: int) -> Iterator[tuple[tuple[int, ...], int]]:
        """The ways to void `number` receipts from `first` on, each with an end before which there are `wanted` wei."""
        if not number:
            end = max(bisect_left(self._before, wanted), first + 1)
            while end <= last and self._before[end] == wanted:
                yield (), end
                end += 1
            return
        for place in range(first, last):
            self._void_steps += 1
            more = wanted + self._receipts[place].fee
            if self._before[place] > wanted or self._void_steps >= self._until:
                return
            if more <= self._before[last]:
                rest = self._choices(place + 1, last, more, number - 1)
                yield from (((place, *others), end) for others, end in rest)

    def _hash(self, found: _Found) -> bytes:
        voided = frozenset(found.voided)
        self._void_steps += found.end - found.start.number
        charges = [
            self._receipts[number].charge().less(found.start.paid if number == found.start.number else 0)
            for number in range(found.start.number, found.end)
            if number not in voided
        ]
        return hash_requests(charges)[0]

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
