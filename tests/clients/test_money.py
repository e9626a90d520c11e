# SPDX-License-Identifier: Apache-2.0
"""Amounts are exact, whatever their size, and anything else is refused."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.errors import NotAnAmount
from serving_network.money import ALL, MAX_WEI, describe, format_coins, parse_amount, parse_wei, to_coins


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("1", 10**18),
        ("1.5", 15 * 10**17),
        (".5 coins", 5 * 10**17),
        ("1 coin", 10**18),
        ("2 0G", 2 * 10**18),
        ("1_000", 1000 * 10**18),
        ("250 gwei", 250 * 10**9),
        ("0.000000001gwei", 1),
        ("7 wei", 7),
        ("0", 0),
        ("0.000000000000000001", 1),
        ("1.50000000000000000000000", 15 * 10**17),
    ],
)
def test_valid_amounts(text: str, wei: int) -> None:
    assert parse_amount(text) == wei


def test_all_is_not_a_number() -> None:
    assert parse_amount(" ALL ") is ALL
    with pytest.raises(NotAnAmount):
        parse_wei("all")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "-1",
        "+1",
        "1e18",
        "1,5",
        "0x10",
        "nan",
        "inf",
        "1 ether",
        "1.5 wei",
        "0.0000000000000000001",
        "1 2",
        "٣",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(NotAnAmount) as failure:
        parse_amount(text)
    assert failure.value.next_step


def test_more_than_a_contract_can_hold_is_refused() -> None:
    assert parse_amount(f"{MAX_WEI} wei") == MAX_WEI
    with pytest.raises(NotAnAmount):
        parse_amount(f"{MAX_WEI + 1} wei")


@given(st.integers(0, MAX_WEI))
def test_every_amount_is_formatted_and_parsed_back(wei: int) -> None:
    assert parse_amount(format_coins(wei)) == wei
    assert parse_amount(describe(wei)) == wei
    assert f"{to_coins(wei):f}".rstrip("0").rstrip(".") == format_coins(wei) or wei == 0


@given(st.integers(-(10**30), 10**30))
def test_the_text_is_a_plain_decimal(wei: int) -> None:
    text = format_coins(wei)
    assert Fraction(text) == Fraction(wei, 10**18)
    assert not text.endswith(".")
    assert "e" not in text.lower()


@given(st.text())
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    try:
        amount = parse_amount(text)
    except NotAnAmount:
        return
    assert amount is ALL or 0 <= amount <= MAX_WEI
