# SPDX-License-Identifier: Apache-2.0
"""Faults of receipts, each found and named; and the verdict on a bill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from serving_network.clients.bills.checking import Fault
from serving_network.clients.bills.evidence import (
    LONGEST_REQUEST,
    TOLERANCE,
    ConfirmedSigner,
    Period,
    RegisteredPrices,
)
from serving_network.clients.bills.exported import InvalidBill, export_bill, import_bill
from serving_network.clients.bills.matching import Coverage
from serving_network.clients.bills.spending import spending
from serving_network.clients.bills.verdict import verify_bill
from serving_network.messages.receipts import Ending, SignedReceipt
from serving_network.wallet.local import LocalTeeSigner
from tests.clients.bills.making import IDENTITY, NOW, TEE, changed, evidence, receipts, settled, sign


def faults(made: list[SignedReceipt], **changes: Any) -> list[tuple[int, Fault]]:
    return [(one.sequence, one.fault) for one in verify_bill(made, evidence(**changes)).problems]


def test_a_bill_that_is_right() -> None:
    made = receipts((1, 1), (2, 2), (3, 3))
    verdict = verify_bill(made, evidence(settled(made[:2])))
    assert verdict.proven
    assert (verdict.receipts, verdict.billed, verdict.to_settle) == (3, 1800, 900)
    assert [one.sequence for one in verdict.unsettled] == [3]
    assert verdict.paid(Coverage.COVERED) == 900


def test_coins_without_receipts_make_a_bill_unproven() -> None:
    made = receipts((1, 1))
    verdict = verify_bill(made, evidence(settled(made, total_fee=301, requests_hash=b"\1" * 32)))
    assert not verdict.proven
    assert (verdict.paid(Coverage.UNCOVERED), verdict.paid(Coverage.COVERED)) == (300, 0)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"output_fee": 401}, Fault.FEE),
        ({"input_fee": 199}, Fault.FEE),
        ({"cached_tokens": 3, "input_fee": 200}, Fault.FEE),
        ({"input_price": 101, "input_fee": 202}, Fault.PRICE),
        ({"time": NOW - 100 - TOLERANCE - 1}, Fault.PRICE),
        ({"billed_before": 299}, Fault.BILLED_BEFORE),
        ({"sequence": 5}, Fault.SEQUENCE),
    ],
)
def test_a_fault_in_what_was_signed(changes: dict[str, Any], fault: Fault) -> None:
    made = receipts((1, 1), (2, 2))
    made[1] = changed(made[1], **changes)
    assert (changes.get("sequence", 2), fault) in faults(made)


def test_a_gap_at_the_start_and_a_sum_before_the_first() -> None:
    made = receipts((1, 1), (2, 2))
    assert faults(made[1:]) == [(2, Fault.SEQUENCE)]
    assert faults([changed(made[0], billed_before=1)]) == [(1, Fault.BILLED_BEFORE)]


def test_two_receipts_for_one_sequence() -> None:
    one, two = receipts((1, 1), (2, 2))
    assert (2, Fault.CONFLICT) in faults([one, two, changed(two, output_tokens=3, output_fee=600)])


def test_a_forged_receipt_and_false_hashes() -> None:
    (one,) = receipts((1, 1))
    assert faults([sign(one.receipt, one.disclosure, LocalTeeSigner(bytes(31) + b"\x08"))]) == [(1, Fault.SIGNATURE)]
    assert faults([replace(one, signature=bytes(65))]) == [(1, Fault.SIGNATURE)]
    assert one.disclosure is not None
    assert faults([replace(one, disclosure=replace(one.disclosure, answer_hash=bytes(32)))]) == [(1, Fault.SIGNATURE)]


def test_the_signer_must_have_been_confirmed_when_it_was_served() -> None:
    (one,) = receipts((1, 1))
    time = one.receipt.time
    for since, until, right in [
        (time + TOLERANCE, None, True),
        (time + TOLERANCE + 1, None, False),
        (0, time - TOLERANCE - LONGEST_REQUEST, True),
        (0, time - TOLERANCE - LONGEST_REQUEST - 1, False),
    ]:
        signers = (ConfirmedSigner(Period(since, until), TEE.address),)
        assert (faults([one], signers=signers) == []) is right
        assert faults([one], signers=signers, timed=False) == []
        assert faults([changed(one, ending=Ending.CRASH)], signers=signers) == []


def test_cached_input_by_the_registered_divisor() -> None:
    (one,) = receipts((9, 1))
    cached = changed(one, cached_tokens=5, input_fee=4 * 100 + 5 * 100 // 4)
    for divisor, right in [(4, True), (1, False), (2, False), (None, True)]:
        prices = (RegisteredPrices(Period(0, None), 100, 200, divisor),)
        assert (faults([cached], prices=prices) == []) is right
    unknown = (RegisteredPrices(Period(0, None), 100, 200, None),)
    assert faults([changed(cached, input_fee=901)], prices=unknown) == [(1, Fault.FEE)]


@pytest.mark.parametrize("redact", [False, True])
def test_an_exported_bill_verifies_alone(redact: bool) -> None:
    made = receipts((1, 1), (2, 2))
    text = export_bill(IDENTITY, made, redact=redact)
    assert ("model-1" in text) is not redact
    identity, found = import_bill(text.encode())
    assert identity == IDENTITY
    assert verify_bill(found, evidence(settled(made))).proven


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"format": "serving-bill-1"}',
        b"[" * 100_000,
        export_bill(IDENTITY, [], redact=False).replace("31337", '"1"').encode(),
        export_bill(IDENTITY, [], redact=False).replace(IDENTITY.user, IDENTITY.user.lower()).encode(),
        export_bill(replace(IDENTITY, chain_id=1), receipts((1, 1)), redact=False).encode(),
    ],
)
def test_a_file_that_is_no_bill(content: bytes) -> None:
    with pytest.raises(InvalidBill):
        import_bill(content)


def test_spending_by_group() -> None:
    made = [*receipts((1, 0)), *receipts((2, 0), model="model-2")]
    made.append(changed(made[0], token_id=3, time=NOW + 3 * 86_400))
    assert [tuple(one) for one in spending(made, "model")] == [("model-1", 2, 200), ("model-2", 1, 200)]
    assert [tuple(one) for one in spending(made, "key")] == [("session", 2, 300), ("key 3", 1, 100)]
    assert [one.requests for one in spending(made, "day")] == [2, 1]
    assert [one.name for one in spending(made, "provider")] == [IDENTITY.provider]
