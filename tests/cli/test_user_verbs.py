# SPDX-License-Identifier: Apache-2.0
"""A user's verbs against a network."""

from __future__ import annotations

import json
import shlex

import pytest

from serving_network.money import WEI_PER_COIN as COIN
from tests.cli.conftest import Terminal
from tests.clients.network_fixture import World

pytestmark = pytest.mark.usefixtures("without_http")


def test_from_the_first_coin_to_the_last(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    world.owner.confirm(world.provider.address)
    opened = serving.program("ledger", "open", "10.000000000000000001", "--yes", "--json").json
    (transaction,) = opened["transactions"]
    assert transaction["function"] == "addLedger"
    assert transaction["value"] == {"wei": "10000000000000000001", "coins": "10.000000000000000001"}
    funded = serving("ledger", "fund", "provider", "2.5", "--yes")
    assert "Moved 2.5 coins from the ledger to the account with" in funded.out
    tree = serving("account", "show").out
    assert "├── available   7.5 coins" in tree
    assert "balance     2.5 coins" in tree
    serving("ledger", "retrieve", "--all", "--yes")
    assert "unlocks in 1 d (" in serving("account", "show").out
    assert "Nothing to retrieve" in serving("ledger", "retrieve", "--all", "--yes").out
    assert serving("ledger", "retrieve", "provider", "--yes", "--json").json["transactions"] == []
    world.network.travel(86_400)
    serving("ledger", "retrieve", "provider", "--yes")
    before = world.connection.balance(world.user.address)
    said = serving("ledger", "withdraw", "all", "--dry-run").err
    assert "open a new one with at least 3 coins and fund each provider with at least 1 coin" in said
    withdrawn = serving("ledger", "withdraw", "all", "--yes", "--json").json["transactions"][0]
    assert withdrawn["effect"].endswith("from the ledger to the wallet, deleting the ledger and 1 empty account")
    after = world.connection.balance(world.user.address)
    assert after - before == 10 * COIN + 1 - int(withdrawn["gas_cost"]["wei"])
    refused = serving("ledger", "show", code=7)
    assert "serving ledger open AMOUNT" in refused.err


def test_a_dry_run_shows_the_call_and_sends_nothing(serving: Terminal, world: World) -> None:
    before = world.connection.balance(world.user.address)
    shown = serving("ledger", "open", "3", "--dry-run").out
    assert "LedgerManager.addLedger" in shown
    assert "additionalInfo = " in shown
    assert "This opens a ledger for" in shown
    assert "Nothing was sent." in shown
    as_json = serving("ledger", "open", "3", "--dry-run", "--json").json
    assert as_json["dry_run"] is True
    assert as_json["transactions"][0]["gas"] > 21_000
    assert world.connection.balance(world.user.address) == before


def test_nothing_is_sent_without_somebody_to_ask(serving: Terminal, world: World) -> None:
    refused = serving("ledger", "open", "3", code=2)
    assert "--yes" in refused.err
    assert world.user.ledger(world.user.address) is None


def test_too_little_money_is_told_with_the_way_out(serving: Terminal, world: World) -> None:
    small = serving("ledger", "open", "1", "--yes", "--json", code=7)
    failure = json.loads(small.err)
    assert failure["error"] == "MinimumDepositRequired"
    assert failure["exit_code"] == 7
    assert failure["next_step"] == "serving ledger open '3 coins'"
    world.user.open_ledger(3 * COIN)
    world.provider.register(world.offer())
    much = serving("ledger", "fund", "provider", "4", "--yes", code=7)
    assert "serving ledger deposit '1 coin'" in much.err
    more = serving("ledger", "withdraw", "3.5", "--yes", code=7)
    assert "Available: 3 coins. The withdrawal needs 3.5 coins." in more.err
    poor = serving("ledger", "deposit", "999999999", "--yes", code=6)
    assert f"serving local fund {world.user.address}" in poor.err


def test_an_unknown_provider(serving: Terminal, world: World) -> None:
    world.user.open_ledger(3 * COIN)
    nobody = serving("ledger", "fund", "provdier", "1", "--yes", code=3)
    assert "Did you mean 'provider'?" in nobody.err
    unregistered = serving("ledger", "fund", "stranger", "1", "--yes", code=7)
    assert "has not registered a service" in unregistered.err


def test_amounts_that_are_none(serving: Terminal) -> None:
    for amount in ("1e18", "1.5 wei", "all"):
        assert "Write an amount like" in serving("ledger", "deposit", amount, "--yes", code=2).err


def test_deposits_for_others_and_the_rest_of_a_ledgers_life(serving: Terminal, world: World) -> None:
    serving("ledger", "deposit", "3", "--for", "other-user", "--yes")
    assert world.other_user.ledger(world.other_user.address) is not None
    serving("ledger", "open", "3", "--info", "me", "--yes")
    serving("ledger", "describe", "you", "--yes")
    assert serving("ledger", "show", "--json").json["info"] == "you"
    assert {one["user"] for one in serving("ledger", "list", "--json").json} == {
        world.user.address,
        world.other_user.address,
    }
    assert serving("ledger", "list").out.splitlines()[0].split("\t") == ["user", "available", "with providers", "total"]
    kept = serving("ledger", "delete", "--yes", code=7)
    assert "still holds 3 coins" in kept.err


def test_a_top_up(serving: Terminal, world: World) -> None:
    world.with_account(10 * COIN, 2 * COIN)
    assert "Nothing to do" in serving("ledger", "top-up", "provider", "--below", "1", "--to", "3", "--yes").out
    serving("ledger", "top-up", "provider", "--below", "2.5", "--to", "3", "--yes")
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert account.balance == 3 * COIN


def test_acknowledging_by_hand(serving: Terminal, world: World) -> None:
    world.with_account(10 * COIN, 2 * COIN)
    refused = serving("account", "acknowledge", "provider", "--revoke", "--yes", code=7)
    assert "holds 2 coins" in refused.err
    serving("account", "acknowledge", "provider", "--yes")
    (account,) = serving("account", "list", "--user", "user", "--json").json
    assert account["acknowledged"] is True


def test_tokens_from_making_to_revoking(serving: Terminal, world: World) -> None:
    world.with_account()
    made = serving("token", "make", "provider", "--days", "30")
    header = made.out.strip()
    assert header.startswith("app-sk-")
    assert header not in made.err
    assert "API key 0, expires 20" in made.err
    assert "curl https://provider.example/v1/proxy/chat/completions" in made.err
    checked = serving("token", "check", "--key", "provider", stdin=header)
    assert "API key 0" in checked.out
    listed = serving("token", "list", "provider", "--json").json
    assert [one["token_id"] for one in listed["in_use"]] == [0]
    serving("token", "revoke", "provider", "0", "--yes")
    refused = serving("token", "check", "--key", "provider", stdin=header, code=2)
    assert "Token 0 is revoked" in refused.err
    assert serving("token", "list", "provider", "--json").json["revoked"] == [0]
    as_json = serving("token", "make", "provider", "--json").json
    assert (as_json["id"], as_json["base_url"]) == (None, "https://provider.example/v1/proxy")
    session = as_json["authorization"]
    serving("token", "revoke-all", "provider", "--yes")
    serving("token", "check", "--key", "provider", stdin=session, code=2)
    serving("token", "make", "provider", "--days", "1", "--forever", code=2)


def test_a_provider_cannot_write_into_the_line_that_is_pasted(serving: Terminal, world: World) -> None:
    world.with_account()
    world.provider.update(world.offer(model="'; rm -rf / #", url="https://provider.example/$(reboot)"))
    made = serving("token", "make", "provider").err
    line = made[made.index("curl ") :]
    words = shlex.split(line)
    assert words[1] == "https://provider.example/$(reboot)/v1/proxy/chat/completions"
    assert json.loads(words[-1])["model"] == "'; rm -rf / #"
    assert "'https://provider.example/$(reboot)/v1" in line


def test_fees_of_ones_own(serving: Terminal, world: World) -> None:
    for options in (["--max-fee", "5 gwei", "--tip", "1 gwei"], ["--legacy"], ["--legacy", "--max-fee", "4 gwei"]):
        sent = serving("ledger", "deposit", "3", "--yes", "--json", *options).json["transactions"][0]
        mined = world.connection.rpc("eth_getTransactionByHash", [sent["transaction"]])
        assert int(mined["type"], 16) == (0 if "--legacy" in options else 2)


def test_a_provider_of_another_service_is_named_with_the_option_that_finds_it(serving: Terminal, world: World) -> None:
    world.user.open_ledger(5 * COIN)
    for words in (("ledger", "fund", "provider", "1", "--yes"), ("service", "show", "provider"), ("chat", "provider")):
        failed = json.loads(serving(*words, "--json", code=7).err)
        assert (failed["error"], failed["next_step"]) == ("ServiceNotExist", "serving service list")
    world.provider.register(world.fine_tuning_offer())
    for words in (("ledger", "fund", "provider", "1", "--yes"), ("service", "show", "provider"), ("chat", "provider")):
        failed = json.loads(serving(*words, "--json", code=7).err)
        assert failed["cause"] == "It has registered in fine-tuning-v1.1."
        assert failed["next_step"] == "Pass --service fine-tuning-v1.1"
    checked = serving("doctor", "--provider", "provider", code=9).out
    assert "to check that, pass --service fine-tuning-v1.1" in " ".join(checked.split())
    assert "Moved" in serving("ledger", "fund", "provider", "1", "--yes", "--service", "fine-tuning-v1.1").out


def test_a_table_in_a_pipe_is_rows_only(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    for words in (("registry", "list"), ("ownership", "show"), ("service", "list")):
        listed = serving(*words)
        header, *rows = listed.out.splitlines()
        assert {row.count("\t") for row in rows} == {header.count("\t")}, listed
    assert serving("bill", "show").out == serving("earnings", "provider").out == ""
