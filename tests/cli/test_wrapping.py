# SPDX-License-Identifier: Apache-2.0
"""Lines on a terminal are broken at words only, and tables shorten addresses that stay distinct."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.cli.console.wrapping import shortened, wrapped

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHER = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
ALIKE = "0x70990000000000000000000000000000000079C8"
HASH = "0x" + "ab" * 32
PIECES = ("This", "moves", "2.5 coins", ADDRESS, HASH, "--service", "x" * 30, "after 1 d", "TEE signer  ")


def lines(text: str, width: int) -> list[str]:
    return [" " * indent + text[start:end] for indent, start, end in wrapped(text, width)]


@given(st.lists(st.sampled_from(PIECES), max_size=20), st.integers(20, 120))
def test_a_broken_line_has_the_same_words_and_only_whole_ones(pieces: list[str], width: int) -> None:
    text = " ".join(pieces)
    broken = lines(text, width)
    assert " ".join(broken).split() == text.split()
    too_long = [line.strip().split("  ")[-1] for line in broken if len(line) > width]  # without what is aligned before
    assert [line for line in too_long if len(line.split()) > 1] == []


def test_a_line_that_fits_is_left_alone() -> None:
    assert lines("  wallet   3 coins", 80) == ["  wallet   3 coins"]


def test_a_command_has_a_line_of_its_own_and_is_not_broken() -> None:
    command = f"serving ledger fund {ADDRESS} '1 coin' --service inference-v1.0"
    assert lines(f"Next   The user runs: {command}", 80) == ["Next   The user runs:", " " * 7 + command]
    assert lines(f"Next   {command}", 80) == [f"Next   {command}"]
    export = "export KEY=0x$(openssl rand -hex 32) and one more word"
    assert lines(f"Next   To make one: {export}", 40) == ["Next   To make one:", " " * 7 + export]
    sentence = "Run serving ledger retrieve --all now and after the lock time, then: serving ledger withdraw all"
    assert lines(sentence, 30) == [
        "Run",
        "  serving ledger retrieve --all",
        "  now and after the lock time,",
        "  then:",
        "  serving ledger withdraw all",
    ]


def test_an_address_that_does_not_fit_below_an_aligned_column_begins_further_to_the_left() -> None:
    text = f"{'ledger/front':<38} block 3, gas 176056 at {ADDRESS}"
    assert lines(text, 80) == [text[: -len(ADDRESS) - 1], " " * 38 + ADDRESS]
    assert lines(text, 78) == [text[: -len(ADDRESS) - 1], " " * 36 + ADDRESS]


def test_a_span_of_time_keeps_its_unit() -> None:
    assert lines("1.499094 coins of good: unlocks in 1 d (2026)", 36) == [
        "1.499094 coins of good: unlocks in",
        "  1 d (2026)",
    ]
    assert lines("wait for 12 min 5 s now", 16) == ["wait for 12 min", "  5 s now"]


def test_amounts_and_times_are_not_broken() -> None:
    text = "user=one amount=10.5 coins unlocks in 1 d (2026-12-01 03:39:27 CET)"
    assert lines(text, 24) == [
        "user=one",
        "  amount=10.5 coins",
        "  unlocks in 1 d",
        "  (2026-12-01 03:39:27 CET)",
    ]


def test_aligned_lines_continue_in_their_last_column_unless_it_is_far_right() -> None:
    text = "ok     enough available          10 coins; 1 coin to be moved first"
    assert lines(text, 66) == ["ok     enough available          10 coins; 1 coin to be moved", " " * 33 + "first"]
    assert lines(text, 50) == ["ok     enough available          10 coins; 1 coin", "       to be moved first"]


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        ([ADDRESS, OTHER], ["0x7099...79C8", "0x3C44...93BC"]),
        ([f"friend {ADDRESS}", ADDRESS.lower()], ["friend 0x7099...79C8", "0x7099...79c8"]),
        ([ADDRESS, ALIKE, OTHER], [ADDRESS, ALIKE, "0x3C44...93BC"]),
        ([HASH, "0x1234"], ["0xabab...abab", "0x1234"]),
    ],
)
def test_addresses_are_shortened_unless_two_would_look_alike(cells: list[str], shown: list[str]) -> None:
    assert shortened([cells]) == [shown]
