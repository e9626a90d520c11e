# SPDX-License-Identifier: Apache-2.0
"""Fees are exact, and the requests hash is the one that live brokers compute."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from serving_network.messages.prices import Charge, Prices, cached_divisor, count_covered, hash_requests
from serving_network.messages.usage import UsageRow

FEES = st.integers(0, 2**94)


def test_a_fee_is_tokens_times_price() -> None:
    assert Prices(10**15 + 1, 3).fees(10**12, 7) == (10**27 + 10**12, 21)


def test_the_hash_is_keccak_of_the_concatenated_texts() -> None:
    charges = [Charge("0xab", "0xUser", 1, 2), Charge("cd", "0xUser", 0, 10**24)]
    text = "0xab0xUser312" + "cd0xUser1000000000000000000000000" + "0" + "1000000000000000000000000"
    assert hash_requests(charges) == (keccak(text=text), 10**24 + 3, 2)
    assert hash_requests([]) == (keccak(b""), 0, 0)


@pytest.mark.parametrize("length", [1, 511, 512, 513, 1024, 1200])
def test_a_hash_of_many_requests_includes_each(length: int) -> None:
    charges = [Charge(f"0x{number:064x}", "0xu", number, 1) for number in range(length)]
    text = "".join(f"{one.request_text}0xu{one.input_fee + 1}{one.input_fee}1" for one in charges)
    assert hash_requests(charges) == (keccak(text=text), length + length * (length - 1) // 2, length)


@given(st.lists(st.tuples(FEES, FEES), max_size=1200))
def test_the_hash_does_not_depend_on_chunking(fees: list[tuple[int, int]]) -> None:
    charges = [Charge(f"0x{number:064x}", "0xu", *fee) for number, fee in enumerate(fees)]
    text = "".join(f"{c.request_text}0xu{c.input_fee + c.output_fee}{c.input_fee}{c.output_fee}" for c in charges)
    assert hash_requests(iter(charges)) == (keccak(text=text), sum(map(sum, fees)), len(fees))


@given(FEES, FEES, st.data())
def test_a_partial_payment_counts_for_the_input_first(of_input: int, of_output: int, data: st.DataObject) -> None:
    paid = data.draw(st.integers(0, of_input + of_output))
    rest = Charge("0x", "0x", of_input, of_output).less(paid)
    assert rest.input_fee + rest.output_fee == of_input + of_output - paid
    assert rest.input_fee >= 0
    assert rest.output_fee == of_output or rest.input_fee == 0


@given(st.lists(st.sampled_from([(0, 0), (1, 0), (2, 3)]), max_size=12), st.data())
def test_a_settlement_is_recognised_among_the_charges(fees: list[tuple[int, int]], data: st.DataObject) -> None:
    charges = [Charge(f"0x{number:064x}", "0xu", *fee) for number, fee in enumerate(fees)]
    covered = data.draw(st.integers(0, len(charges)))
    requests_hash, fee, _ = hash_requests(charges[:covered])
    assert count_covered(iter(charges), fee, requests_hash) == covered
    assert count_covered(iter(charges), fee + 1, requests_hash) is None
    assert count_covered(iter(charges), fee, bytes(32)) is None
    assert covered == 0 or count_covered(iter(charges[1:]), fee, requests_hash) is None


@pytest.mark.parametrize(
    ("text", "divisor"),
    [
        ('{"cacheTokenBilling": {"divisor": 4}}', 4), ('{"cacheTokenBilling": {"divisor": 1}}', 1),
        ('{"cacheTokenBilling": {"divisor": 0}}', 1), ('{"cacheTokenBilling": {"divisor": -4}}', 1),
        ('{"cacheTokenBilling": {"divisor": true}}', 1), ('{"cacheTokenBilling": {"divisor": 2.5}}', 1),
        ('{"cacheTokenBilling": {"divisor": "4"}}', 1), ('{"cacheTokenBilling": {}}', 1), ("{}", 1), ("", 1),
        ('{"divisor": 4}', 1), ('{"cacheTokenBilling": 4}', 1), ("[4]", 1), ("null", 1), ('"text"', 1),
        ("a service of ours", 1), ("[" * 1000, 1),
    ],
)  # fmt: skip
def test_cached_tokens_cost_less_only_by_a_whole_divisor(text: str, divisor: int) -> None:
    assert cached_divisor(text) == divisor


def test_cached_tokens_are_rounded_down_and_other_units_priced() -> None:
    row = UsageRow(1, bytes(32), "0x", "0xu", "0xu", 1, 10, 20, None, 7, 3, 5)
    assert Prices(3, 11).cached_divisor == 1
    assert Prices(3, 11, 4).fees_of(row) == ((10 - 7) * 3 + 7 * 3 // 4 + 5 * 3, (20 + 3) * 11)
