# SPDX-License-Identifier: Apache-2.0
"""What newcomers type, and the answer that leads on."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from serving_network.cli import chat
from serving_network.money import WEI_PER_COIN as COIN
from tests.cli.conftest import Terminal
from tests.clients.network_fixture import World

NO_PASSWORD = {"SERVING_PASSWORD": ""}


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("key new", "or write it like: serving key new main"),
        ("key show", "Its commands: new, import, list, show-address, use, remove."),
        ("completion tcsh", "Invalid value for 'shell': 'tcsh' is not one of"),
        ("deposit 3", "There is serving ledger deposit."),
        ("version recommend inference v1.1", "serving registry -h"),
        ("handover apply 0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "serving ownership -h"),
        ("key forget", "serving key use --none"),
        ("registry migration inference-v1.0 inference-v1.1", "serving migrate plan -h"),
        ("local fund main -5", "'-5' is not an option, and no amount is negative."),
        ("token make someone --days 0", "or write it like: serving token make good-provider --days 30"),
        ("ledger fund 2 0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "may be in the wrong order"),
        ("service register nothing.toml -k main", "serving service register --example > nothing.toml"),
        ("service register nothing.toml -k main -s fine-tuning", "--example --service fine-tuning > nothing.toml"),
        ("service update model=x -k main", "serving service update --set model=x"),
    ],
)
def test_a_command_line_that_is_wrong_is_answered_with_a_right_one(
    serving: Terminal, world: World, words: str, answer: str
) -> None:
    if "service update" in words:
        world.provider.register(world.offer())
    failed = serving(*words.replace("-k main", "-k provider").split(), code=None)
    assert failed.code in (2, 3)
    assert answer in failed.err
    as_json = serving(*words.replace("-k main", "-k provider").split(), "--json", code=failed.code)
    assert json.loads(as_json.err)["exit_code"] == failed.code


def test_help_is_a_command_too(lonely: Terminal) -> None:
    assert lonely("help").out == lonely("-h").out
    assert lonely("help", "key", "new").out == lonely("key", "new", "-h").out


def test_an_amount_needs_no_quotes(serving: Terminal, world: World) -> None:
    before = world.connection.balance(world.user.address)
    serving("local", "fund", "user", "10", "gwei")
    assert world.connection.balance(world.user.address) == before + 10 * 10**9


def test_the_coins_of_the_next_step_suffice(serving: Terminal, world: World) -> None:
    needed = str(world.connection.balance(world.user.address) // COIN + 5000)
    poor = json.loads(serving("ledger", "open", needed, "--yes", "--json", code=6).err)
    serving(*shlex.split(poor["next_step"])[1:])
    serving("ledger", "open", needed, "--yes")


def test_a_name_is_checked_before_a_password_is_asked_for(serving: Terminal) -> None:
    assert "already exists" in serving("key", "new", "user", code=2, **NO_PASSWORD).err
    assert "already exists" in serving("key", "import", "user", code=2, **NO_PASSWORD).err


def test_a_name_never_stands_for_two_addresses(serving: Terminal, world: World) -> None:
    provider, other = world.provider.address, world.stranger.address
    assert "is the name of a key of yours" in serving("address", "add", "user", provider, code=2).err
    serving("address", "add", "friend", provider)
    assert "serving address remove friend" in serving("key", "new", "friend", code=2, **NO_PASSWORD).err
    replaced = serving("address", "add", "friend", other, code=2)
    assert f"friend: {provider} -> {other}" in replaced.err
    assert serving("address", "list", "--json").json == {"friend": provider}
    serving("address", "add", "friend", other, "--yes")
    assert serving("address", "list", "--json").json == {"friend": other}
    assert "is also the name of a key" not in serving("address", "list").err
    file = serving.home / "config.toml"
    file.write_text(file.read_text().replace("friend", "user"))  # earlier versions allowed it
    noted = serving("address", "list").err
    assert f"user is also the name of a key, {world.user.address}." in noted
    assert noted.endswith("To end this: serving address remove user\n")


def test_the_owner_writes_times_and_percents_as_they_are_shown(serving: Terminal, world: World) -> None:  # noqa: ARG001
    owner = ("--key", "owner", "--dry-run")
    shown = serving("setting", "lock-time", "2", "days", *owner).out
    assert "_locktime = 2 d" in shown
    assert "from 1 d to 2 d" in shown
    assert "from 1 d to 1 d 12 h" in serving("setting", "lock-time", "36", *owner).out
    assert "from 30 % to 40 %" in serving("setting", "penalty", "40%", *owner).out
    refused = serving("setting", "penalty", "40", "--service", "inference", *owner, code=2).err
    assert "serving setting penalty 40 --service fine-tuning" in refused
    assert "whole number of percent" in serving("setting", "penalty", "some", *owner, code=2).err
    assert "not a span of time" in serving("setting", "lock-time", "soon", *owner, code=2).err


def test_amounts_have_their_unit_wherever_they_are_shown(serving: Terminal, world: World) -> None:
    world.user.open_ledger(5 * COIN)
    world.provider.register(world.offer(input_price=COIN, output_price=2 * COIN))
    fund = ("ledger", "fund", "provider", "1.5")
    assert "  amount = 1.5 coins\n" in serving(*fund, "--dry-run").out
    sent = serving(*fund, "--yes", "--json").json["transactions"][0]
    assert sent["arguments"]["amount"] == str(COIN * 3 // 2)
    assert "  amount = 1.5 coins\n" in serving("transaction", "show", sent["transaction"]).out
    names, one, *more = serving("service", "list").out.splitlines()
    found = dict(zip(names.split("\t"), one.split("\t"), strict=True))
    assert (found["per input token"], found["per output token"], more) == ("1 coin", "2 coins", [])
    assert (
        serving("bill", "show").err
        == "There are no receipts on this machine. Fetch them: serving bill fetch PROVIDER\n"
    )
    assert "updatedAt=20" in serving("events").out


def test_a_refund_takes_no_amount(serving: Terminal) -> None:
    assert "A refund is of the whole account." in serving("ledger", "retrieve", "provider", "1", code=2).err


def test_a_network_without_a_record_is_not_deployed_again(serving: Terminal) -> None:
    refused = serving("health", code=3).err
    assert "serving doctor" in refused
    assert "deploy apply" not in refused


def test_a_server_has_a_url_with_its_scheme(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    refused = serving("service", "update", "--set", "url=gateway.example", "--key", "provider", "--dry-run", code=2)
    assert "https://gateway.example" in refused.err
    key = {"SERVING_TEE_KEY": "0x" + "5e" * 32}
    refused = serving("gateway", "init", "--url", "x", "--key", "provider", code=2, **key)
    assert "'x' is not the URL of a server." in refused.err


def test_a_gateway_that_never_ran_is_started_by_the_next_step(serving: Terminal) -> None:
    for words in (("status",), ("drain",)):
        assert "Run serving gateway run first" in serving("gateway", *words, "--key", "provider", code=3).err


def test_what_a_refund_returned_is_said(serving: Terminal, world: World) -> None:
    world.with_account(10 * COIN, 2 * COIN)
    kept = serving("ledger", "withdraw", "all", "--dry-run")
    assert "Left with providers: 2 coins. To request it: serving ledger retrieve --all\n" in kept.err
    serving("ledger", "retrieve", "--all", "--yes")
    left = serving("ledger", "withdraw", "all", "--dry-run")
    assert re.search(r"2 coins\. Its refund unlocks in .* To collect it: serving ledger retrieve --all\n", left.err)
    serving("local", "travel", "2", "days")
    returned = serving("ledger", "retrieve", "--all", "--yes")
    assert "2 coins returned to the ledger, 10 coins available.\n" in returned.out


def test_an_unknown_transaction_is_not_said_to_be_sent(serving: Terminal) -> None:
    failed = serving("transaction", "show", "0x" + "ab" * 32, code=6).err
    assert "0x" + "ab" * 32 in failed
    assert "Sent" not in failed


def test_a_token_says_how_to_revoke_it(serving: Terminal, world: World) -> None:
    world.with_account()
    assert "serving token revoke-all provider" in serving("token", "make", "provider").err
    assert "serving token revoke provider 0" in serving("token", "make", "provider", "--days", "1").err


def test_revoked_session_tokens_can_be_made_again(serving: Terminal, world: World) -> None:
    world.with_account()
    assert "is the id of every session token" in serving("token", "revoke", "provider", "255", "--yes").err
    stuck = json.loads(serving("token", "make", "provider", "--json", code=2).err)
    serving(*shlex.split(stuck["next_step"])[1:], "--yes")
    serving("token", "make", "provider")


def test_a_conversation_asks_for_the_password_before_the_first_question(
    serving: Terminal, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.with_account()
    world.provider.update(world.offer(url="http://127.0.0.1:9"))
    typed = tmp_path / "asked"

    def asks(_: str) -> None:
        typed.touch()

    monkeypatch.setattr(chat, "ask_line", asks)
    monkeypatch.setattr(chat.sys, "stdin", type("Tty", (), {"isatty": lambda _: True})())  # type: ignore[attr-defined]
    serving("chat", world.provider.address, code=4, SERVING_PASSWORD="wrong password")
    assert not typed.exists()
