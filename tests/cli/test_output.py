# SPDX-License-Identifier: Apache-2.0
"""How amounts, numbers of things, times and calls are shown."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

import serving_network
from serving_network.cli.console.output import Output
from serving_network.cli.console.sending import past
from serving_network.cli.console.times import local_time, moment, until
from serving_network.counting import count
from serving_network.money import rounded

CLIENTS = Path(serving_network.__file__).parent / "clients"
COIN, GWEI = 10**18, 10**9
PASTS = {
    "abandons": "Abandoned",
    "acknowledges": "Acknowledged",
    "adds": "Added",
    "changes": "Changed",
    "confirms": "Confirmed",
    "deletes": "Deleted",
    "leaves": "Left",
    "makes": "Made",
    "moves": "Moved",
    "offers": "Offered",
    "opens": "Opened",
    "recommends": "Recommended",
    "registers": "Registered",
    "removes": "Removed",
    "requests": "Requested",
    "revokes": "Revoked",
    "sets": "Set",
    "settles": "Settled",
    "transfers": "Transferred",
    "updates": "Updated",
}


@pytest.mark.parametrize(
    ("wei", "shown", "at_most"),
    [
        (0, "0 coins", "0 coins"),
        (COIN, "1 coin", "1 coin"),
        (COIN + 1, "1 coin", "1.000001 coins"),
        (COIN - 1, "0.999999 coins", "1 coin"),
        (7_500_000_000_000_000_001, "7.5 coins", "7.500001 coins"),
        (109_786_379_101_038, "0.000109 coins", "0.00011 coins"),
        (10**12, "0.000001 coins", "0.000001 coins"),
        (10**12 - 1, "999.999 gwei", "0.000001 coins"),
        (20 * GWEI, "20 gwei", "20 gwei"),
        (1_234_567, "0.001 gwei", "0.002 gwei"),
        (7, "7 wei", "7 wei"),
        (-2 * COIN - 1, "-2 coins", "-2.000001 coins"),
    ],
)
def test_an_amount_has_at_most_six_decimals(wei: int, shown: str, at_most: str) -> None:
    assert (rounded(wei), rounded(wei, at_most=True)) == (shown, at_most)


def test_what_is_below_a_table_is_not_in_the_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    for rows in ([("user", "1 coin")], []):
        out = Output()
        out.line("above")
        out.table(("name", "paid"), rows, "There are no payments.")
        out.facts({"total": "1 coin"})
        out.line("below")
        shown = capsys.readouterr()
        assert shown.out == "above\n" + ("name\tpaid\nuser\t1 coin\n" if rows else "")
        assert shown.err.endswith("total  1 coin\nbelow\n")


def test_a_number_of_things_agrees() -> None:
    assert [count(number, "row") for number in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]
    assert count(2, "entry", "entries") == "2 entries"


def test_a_time_is_local_for_people_and_utc_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert local_time(1_764_000_000) == "2025-11-25 01:00:00 JST"
        assert moment(1_764_000_000) == "2025-11-24T16:00:00Z"
        assert until(1_764_000_000, 1_763_996_399) == "unlocks in 1 h 1 s (2025-11-25 01:00:00 JST)"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_a_call_does_is_told_in_the_past_once_it_is_done() -> None:
    assert {verb: past(f"{verb} it") for verb in PASTS} == {verb: f"{done} it" for verb, done in PASTS.items()}
    assert verbs_of_effects() <= PASTS.keys()


def verbs_of_effects() -> set[str]:
    """The first word of every effect that a client gives to a call."""
    found = set()
    for path in CLIENTS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Assign(targets=[ast.Name(id="effect")], value=value):
                    found.add(first_word(value))
                case ast.keyword(arg="effect", value=(ast.Constant() | ast.JoinedStr()) as value):
                    found.add(first_word(value))
    return found - {""}


def first_word(text: ast.expr) -> str:
    part = text.values[0] if isinstance(text, ast.JoinedStr) else text
    return str(part.value).partition(" ")[0] if isinstance(part, ast.Constant) else ""
