# SPDX-License-Identifier: Apache-2.0
"""Random histories of a user and a provider: whatever was voided and paid in part, the bill is proven to the wei."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.clients.bills.matching import Coverage, match
from serving_network.clients.bills.verdict import verify_bill
from serving_network.clients.settled import Settled
from serving_network.messages.receipts import SignedReceipt
from tests.clients.bills.making import changed, evidence, receipts, settled

MOST = 12


class History(NamedTuple):
    """Receipts as the user has them, settlements, what was paid of each, and which places settlements left out."""

    receipts: list[SignedReceipt]
    settlements: list[Settled]
    paid: list[int]
    left_out: set[int]


@st.composite
def histories(draw: st.DrawFn) -> History:
    fees = draw(st.lists(st.tuples(st.sampled_from([0, 0, 1, 3]), st.sampled_from([0, 2])), min_size=1, max_size=MOST))
    made = [changed(one, token_id=draw(st.sampled_from([255, 7]))) for one in receipts(*fees)]
    due = [one.receipt.fee for one in made]
    voided: set[int] = set()
    left_out: set[int] = set()
    settlements: list[Settled] = []
    cursor, before = 0, 0
    while cursor < len(made):
        # A receipt that is paid in part, or that a settlement may still pay for, cannot be voided.
        first = cursor + (before > 0)
        voided |= draw(st.sets(st.integers(first, len(made) - 1), max_size=3)) if first < len(made) else set()
        left = [place for place in range(cursor, len(made)) if place not in voided]
        costly = next((number for number, place in enumerate(left, 1) if made[place].receipt.fee), None)
        if costly is None:
            break
        taken = left[: draw(st.integers(costly, len(left)))]
        whole = sum(made[place].receipt.fee for place in taken) - before
        paid = draw(st.one_of(st.just(whole), st.integers(0, whole)))
        settlements.append(settled([made[place] for place in taken], paid, before=before))
        left_out |= {place for place in voided if place < taken[-1] and made[place].receipt.fee}
        amount = before + paid
        cursor, before = taken[-1] + 1, 0
        for place in taken:
            if amount < (fee := made[place].receipt.fee):
                cursor, before = place, amount
                break
            due[place], amount = 0, amount - fee
        else:
            # The provider's queue passes receipts that cost nothing, if they are there by then.
            while draw(st.booleans()) and cursor < len(made) and not made[cursor].receipt.fee:
                cursor += 1
        if before:
            due[cursor] = made[cursor].receipt.fee - before
    shown = [one.redacted() if draw(st.booleans()) else one for one in made]
    fees_paid = [one.receipt.fee - rest for one, rest in zip(made, due, strict=True)]
    return History(shown, settlements, fees_paid, left_out)


@settings(max_examples=60)
@given(histories())
def test_every_coin_and_every_void_is_recognised(history: History) -> None:
    verdict = verify_bill(history.receipts, evidence(*history.settlements))
    assert verdict.proven
    assert verdict.paid(Coverage.COVERED) == sum(history.paid)
    found = match([one.receipt for one in history.receipts], history.settlements)
    assert list(found.paid) == history.paid
    seen = {sequence - 1 for one in found.payments for sequence in one.voided}
    assert {place for place in seen if history.receipts[place].receipt.fee} == history.left_out
    assert {one.sequence - 1 for one in verdict.unsettled} == {
        place
        for place, one in enumerate(history.receipts)
        if history.paid[place] < one.receipt.fee and place not in history.left_out
    }


@settings(max_examples=20)
@given(histories(), st.data())
def test_a_settlement_that_charges_more_is_not_covered(history: History, data: st.DataObject) -> None:
    """However many receipts could be left out: the hash of one does not fit."""
    place = data.draw(st.integers(0, len(history.settlements) - 1)) if history.settlements else None
    if place is None or history.settlements[place].settlement is None:
        return
    forged = list(history.settlements)
    row = forged[place].settlement
    assert row is not None
    forged[place] = replace(forged[place], settlement=replace(row, total_fee=row.total_fee + 100))
    assert not verify_bill(history.receipts, evidence(*forged)).proven
