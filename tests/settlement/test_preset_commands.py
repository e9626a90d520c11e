# SPDX-License-Identifier: Apache-2.0
"""The samples of all tools, settled from the command line, and what is left of a log when it is settled again."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.settlement.stage import COIN, INPUT_PRICE, OUTPUT_PRICE, dev_signer, prepare_in_process
from tests.settlement.test_commands import House, Node, house, new_home
from tests.settlement.test_usage_presets import EXPECTED, SAMPLES

__all__ = ["house", "new_home"]


@pytest.fixture(scope="module")
def node() -> Node:
    """A chain on which the users of the samples have funds."""
    chain = Node()
    prepare_in_process(chain, [dev_signer(2), dev_signer(3)], COIN)
    return chain


@pytest.mark.parametrize(("tool", "name", "given", "expected", "left_out"), EXPECTED)
def test_a_sample_settles(
    house: House,
    tool: str,
    name: str,
    given: dict[str, str],
    expected: list[tuple[str, int, int, int]],
    left_out: int,
) -> None:
    options = [word for key, value in given.items() for word in (f"--{key}", value)]
    if tool in ("openrouter", "new-api"):
        options += ["--users", str(SAMPLES / "users.json")]
    log = shutil.copy(SAMPLES / name, house.home)
    settled = house.json("settle", str(log), "--preset", tool, *options)
    due = sum(tokens * INPUT_PRICE + output * OUTPUT_PRICE for _, tokens, output, _ in expected)
    if tool == "0g-broker":
        due = 4600
    assert settled["total"]["paid"] == str(due)
    assert settled["log"] == {
        "new": len(expected), "known": 0, "rejected": 0, "left_out": left_out, "continued_at_line": None,
    }  # fmt: skip
    assert settled["total"]["other_units"].get("cached_tokens", 0) == sum(cached for *_, cached in expected)
    again = house.json("settle", str(log), "--preset", tool, *options, "--reread")
    assert (again["log"]["new"], again["log"]["known"]) == (0, len(expected))
    assert again["total"]["paid"] == "0"


def test_a_check_shows_fees_where_a_service_is_known(house: House) -> None:
    checked = house.json("settle", "--check", str(SAMPLES / "langfuse_observations.csv"), "--preset", "langfuse")
    assert checked["rows"][0]["fee"]["wei"] == str(184 * INPUT_PRICE + 45 * OUTPUT_PRICE)
    assert not list(house.home.glob("settlements/*"))


def test_the_report_says_where_the_log_was_read_on(house: House) -> None:
    user = dev_signer(2).address
    log = house.home / "u.jsonl"
    row = {"user": user, "time": 1, "input_tokens": 1, "output_tokens": 1, "n": 2}
    options = ("--map", "images=n", "--skip", "kind=test")
    log.write_text(json.dumps(row | {"id": "a"}) + "\n" + json.dumps(row | {"id": "b", "kind": "test"}) + "\n")
    shown = house("settle", str(log), *options)
    assert "1 new request, 0 known, 0 rejected, 1 left out" in shown
    assert "1 in, 1 out, 2 images" in shown
    with log.open("a") as file:
        file.write(json.dumps(row | {"id": "c"}) + "\nbroken\n")
    assert "1 new request, 0 known, 1 rejected, continued at line 3" in house("settle", str(log), *options, code=10)
    shown = house("settle", str(log), *options, code=10)
    assert "0 new requests, 0 known, 1 rejected, continued at line 5" in shown
    assert "Nothing is open." in shown
