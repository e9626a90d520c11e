# SPDX-License-Identifier: Apache-2.0
"""Which receipts a settlement pays for, and which coins no receipt covers."""

from __future__ import annotations

from random import Random
from time import process_time

import pytest

from serving_network.clients.bills import matching
from serving_network.clients.bills.matching import Coverage, match
from serving_network.clients.bills.verdict import verify_bill
from tests.clients.bills.making import evidence, receipts, settled, through_a_contract


def matched(made: list, *settlements: object) -> list[tuple[Coverage, int | None, int | None]]:  # type: ignore[type-arg]
    found = match([one.receipt for one in made], settlements)  # type: ignore[arg-type]
    return [(one.coverage, one.first, one.last) for one in found.payments]


def test_settlements_follow_each_other() -> None:
    made = receipts((1, 1), (2, 2), (3, 3))
    found = match([one.receipt for one in made], [settled(made[:2]), settled(made[2:])])
    assert [(one.first, one.last) for one in found.payments] == [(1, 2), (3, 3)]
    assert found.paid == (300, 600, 900)


def test_a_settlement_that_was_paid_in_part_is_continued() -> None:
    made = receipts((1, 1), (2, 2), (3, 3))
    found = match([one.receipt for one in made], [settled(made, 450), settled(made[1:], before=150)])
    assert [(one.first, one.last) for one in found.payments] == [(1, 3), (2, 3)]
    assert found.paid == (300, 600, 900)
    assert match([one.receipt for one in made], [settled(made, 450)]).paid == (300, 150, 0)


@pytest.mark.parametrize("covered", [(0, 1), (0, 2), (1, 2)])
def test_receipts_that_cost_nothing(covered: tuple[int, int]) -> None:
    """They belong to the settlement before them or to the one after them, as the provider's run met them."""
    made = receipts((1, 0), (0, 0), (0, 0), (2, 1))
    end = covered[1]
    assert [one[0] for one in matched(made, settled(made[:end]), settled(made[end:]))] == [Coverage.COVERED] * 2
    assert matched(made, settled(made[:1]), settled(made[3:]))[1] == (Coverage.COVERED, 4, 4)


def test_coins_without_receipts_are_named() -> None:
    made = receipts((1, 1), (2, 2), (3, 3))
    inflated = settled(made[1:2], total_fee=601)
    log = settled(receipts((9, 9)), requests_hash=b"\5" * 32)
    assert matched(made, log, settled(made[:1]), inflated, settled(made[2:])) == [
        (Coverage.UNCOVERED, None, None),
        (Coverage.COVERED, 1, 1),
        (Coverage.UNCOVERED, None, None),
        (Coverage.COVERED, 3, 3),
    ]


def test_what_was_settled_through_a_contract_is_not_readable() -> None:
    made = receipts((1, 1), (2, 2), (3, 3))
    found = matched(made, settled(made[:1]), through_a_contract(450), settled(made[1:], before=450))
    assert found == [(Coverage.COVERED, 1, 1), (Coverage.UNREADABLE, None, None), (Coverage.COVERED, 2, 3)]


@pytest.mark.parametrize("voided", [range(2, 3), range(1, 4), range(4), range(3, 5)])
def test_voided_receipts_are_left_out(voided: range) -> None:
    made = receipts((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6))
    charged = [one for number, one in enumerate(made[:5]) if number not in voided]
    found = match([one.receipt for one in made], [settled(charged), settled(made[5:])])
    assert {one.coverage for one in found.payments} == {Coverage.COVERED}
    left_out = [one.receipt.sequence for one in made if one.receipt.fee and not found.paid[one.receipt.sequence - 1]]
    assert left_out == [number + 1 for number in voided]
    assert sum(found.paid) == sum(one.receipt.fee for one in [*charged, made[5]])


def test_voided_receipts_in_a_settlement_that_was_paid_in_part() -> None:
    made = receipts((1, 1), (2, 2), (3, 3), (4, 4))
    charged = [made[0], *made[2:]]
    first, rest = settled(charged, 150), settled(charged, before=150)
    found = match([one.receipt for one in made], [first, rest])
    assert [(one.coverage, one.voided) for one in found.payments] == [(Coverage.COVERED, (2,))] * 2
    assert found.paid == (300, 0, 900, 1200)


def test_a_receipt_that_is_voided_after_a_settlement_that_paid_nothing_for_it() -> None:
    one, two, three = receipts((0, 2), (0, 2), (0, 2))
    history = [settled([one]), settled([two], 0), settled([three])]
    found = match([each.receipt for each in (one, two, three)], history)
    assert found.paid == (400, 0, 400)
    assert [each.voided for each in found.payments] == [(), (), (2,)]
    assert not verify_bill([one, two, three], evidence(*history)).unsettled


def test_a_settlement_may_not_cover_receipts_twice() -> None:
    made = receipts((1, 1), (2, 2))
    assert matched(made, settled(made), settled(made)) == [(Coverage.COVERED, 1, 2), (Coverage.UNCOVERED, None, None)]


def test_many_receipts_of_the_same_fee_take_no_time() -> None:
    made = [one.receipt for one in receipts((1, 0))] * 20_000
    other = settled(receipts(*[(1, 0)] * 500), requests_hash=b"\5" * 32)
    assert match(made, [other]).payments[0].coverage is Coverage.UNCOVERED


@pytest.mark.parametrize("seed", range(20))
def test_random_histories_are_covered_to_the_wei(seed: int) -> None:
    random = Random(seed)
    made = receipts(*[(random.choice([0, 0, 1, 5]), random.choice([0, 2])) for _ in range(30)])
    settlements, start, before = [], 0, 0
    while start < len(made):
        end = random.randint(start + 1, len(made))
        one = settled(made[start:end], before=before)
        row = one.settlement
        assert row is not None
        paid = random.choice([row.total_fee, random.randint(0, row.total_fee)])
        settlements.append(settled(made[start:end], paid, before=before))
        before += paid
        while start < end and before >= made[start].receipt.fee:
            before -= made[start].receipt.fee
            start += 1
    found = match([one.receipt for one in made], settlements)
    assert {one.coverage for one in found.payments} == {Coverage.COVERED}
    assert list(found.paid) == [one.receipt.fee for one in made]


def test_receipts_that_cost_nothing_do_not_take_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider can sign any number of them, and settle nothing under any hash. What was found before stays found."""
    monkeypatch.setattr(matching, "MAX_STEPS", 20_000)
    (one,) = receipts((1, 1))
    made = [one.receipt, *[receipts((0, 0))[0].receipt] * 20_000]
    nothing = settled([], requests_hash=b"\5" * 32)
    began = process_time()
    found = match(made, [settled([one]), *[nothing] * 1_000])
    assert process_time() - began < 5
    assert [payment.coverage for payment in found.payments] == [Coverage.COVERED, *[Coverage.UNCOVERED] * 1_000]
