# SPDX-License-Identifier: Apache-2.0
"""`serving local`: coins and time, and where its commands are named."""

from __future__ import annotations

import pytest

from serving_network.chains import FAUCETS, how_to_get_coins
from serving_network.cli.console.times import parse_span, span_up
from serving_network.errors import InvalidInput
from tests.cli.conftest import Terminal
from tests.clients.network_fixture import World


def test_a_new_key_gets_coins_and_can_pay(serving: Terminal) -> None:
    serving.environment["SERVING_PRIVATE_KEY"] = "0x" + "5e" * 32
    refused = serving("ledger", "open", "3", "--yes", code=6)
    command = refused.err[refused.err.index("serving local fund") :].split()[1:4]
    assert serving(*command).out.endswith("100 coins more than before.\n")
    serving("ledger", "open", "3", "--yes")


def test_an_amount_is_added_to_what_is_there(serving: Terminal) -> None:
    before = serving("local", "fund", "0x00000000000000000000000000000000000000aa", "1 wei", "--json").json
    after = serving("local", "fund", "0x00000000000000000000000000000000000000aa", "2.5", "--json").json
    assert int(after["balance"]["wei"]) - int(before["balance"]["wei"]) == 25 * 10**17
    assert after["added"] == {"wei": str(25 * 10**17), "coins": "2.5"}


def test_time_passes_by_what_was_asked(serving: Terminal) -> None:
    before = serving("local", "travel", "0", "--json").json["time"]
    after = serving("local", "travel", "1", "day", "--json").json
    assert after["seconds"] == 86400
    assert after["time"] > before
    serving("local", "travel", "11", "years", code=2)
    serving("local", "travel", "3651 d", code=2)


def test_other_networks_are_refused(serving: Terminal) -> None:
    for command in (("fund", "0x00000000000000000000000000000000000000aa"), ("travel", "1 day")):
        refused = serving("local", *command, "--network", "testnet", code=2)
        assert "not a local one" in refused.err
        assert "serving up" in refused.err


def test_refunds_say_how_much_from_whom_and_until_when(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    world.owner.confirm(world.provider.address)
    serving("ledger", "open", "3", "--yes")
    serving("ledger", "fund", "provider", "1", "--yes")
    asked = serving("ledger", "retrieve", "--all", "--yes")
    assert "1 coin of provider 0x" in asked.out
    assert "unlocks in 23 h 59 min" in asked.out or "unlocks in 1 d" in asked.out
    assert "serving ledger retrieve --all" in asked.out
    again = serving("ledger", "retrieve", "provider", "--service", "inference", "--yes")
    assert f"retrieve {world.provider.address} --service inference-v1.0\n" in again.out, "the others are left alone"
    command = asked.err[asked.err.index("serving local travel") :].split()[1:]
    serving(*command)
    got = serving("ledger", "retrieve", "--all", "--yes", "--json").json
    assert got["pending_refunds"] == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1 day", 86400), ("2h30min", 9000), ("2 h 30 min", 9000), ("90", 90), ("1 WEEK", 604800), ("0 s", 0)],
)
def test_spans_are_read(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "day", "1 fortnight", "-1 day", "1.5 h", "1 day and", "9" * 13, "1" * 400])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_span(text)


@pytest.mark.parametrize("seconds", [1, 59, 60, 61, 3599, 3600, 3661, 86399, 86400, 86401, 90061, 10**7 + 1])
def test_a_span_for_a_wait_is_never_too_short(seconds: int) -> None:
    assert 0 <= parse_span(span_up(seconds)) - seconds < max(1, seconds / 24)


def test_each_kind_of_chain_has_its_way_to_coins() -> None:
    assert how_to_get_coins(31337, "0xA") == "serving local fund 0xA"
    assert FAUCETS[16602] in how_to_get_coins(16602, "0xA")
    assert how_to_get_coins(16661, "0xA") == "Send coins to 0xA, then try again."
