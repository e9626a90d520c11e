# SPDX-License-Identifier: Apache-2.0
"""The verbs of providers and owners, and those that look, against a network."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving_network.cli.console.times import local_time
from serving_network.messages.prices import Prices
from serving_network.messages.typed_data import VerifierMessage
from serving_network.messages.usage import UsageRow
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.settlement.journal import open_journal
from serving_network.store.opening import Identity
from serving_network.store.schema import MOVED
from tests.cli.conftest import Terminal
from tests.clients.network_fixture import World
from tests.clients.test_provider import ROOT, signed, task, with_task

pytestmark = pytest.mark.usefixtures("without_http")


def offer_file(directory: Path, world: World) -> Path:
    path = directory / "offer.toml"
    path.write_text(
        f"""
        service_type = "chatbot"
        url = "https://provider.example"
        model = "model-1"
        verifiability = "TeeML"
        input_price = "100 wei"
        output_price = "200 wei"
        additional_info = ""
        tee_signer = "{world.tee_signer.address}"
        """
    )
    return path


def settlements_file(directory: Path, world: World, fee: int, nonce: int) -> Path:
    one = signed(world, world.user.address, fee, nonce)
    path = directory / f"settlement-{nonce}.json"
    entry = {
        "user": one.settlement.user,
        "totalFee": str(fee) + " wei",
        "requestsHash": "0x" + one.settlement.requests_hash.hex(),
        "nonce": nonce,
        "signature": "0x" + one.signature.hex(),
    }
    path.write_text(json.dumps([entry]))
    return path


def task_file(directory: Path, message: VerifierMessage, signature: bytes) -> Path:
    path = directory / "task.json"
    told = {
        "id": message.id,
        "user": message.user,
        "taskFee": message.task_fee,
        "modelRootHash": "0x" + message.model_root_hash.hex(),
        "encryptedSecret": "0x" + message.encrypted_secret.hex(),
        "nonce": message.nonce,
        "signature": "0x" + signature.hex(),
    }
    path.write_text(json.dumps(told))
    return path


def test_a_providers_life(serving: Terminal, world: World, tmp_path: Path) -> None:
    provider, owner = ("--key", "provider", "--yes"), ("--key", "owner", "--yes")
    offer = offer_file(tmp_path, world)
    unsigned = tmp_path / "unsigned.toml"
    unsigned.write_text(offer.read_text().replace(world.tee_signer.address, "0x..."))
    assert "tee_signer: '0x...' is not an address" in serving("service", "register", str(unsigned), code=3).err
    assert "No provider has registered in inference-v1.0 yet." in serving("signer", "waiting").err
    serving("service", "register", str(offer), "--stake", "99", *provider, code=7)
    registered = serving("service", "register", str(offer), *provider)
    assert registered.out.endswith(f"To check: serving service show {world.provider.address}\n")
    (waiting,) = serving("signer", "waiting", "--json").json
    assert waiting["tee_signer"] == world.tee_signer.address
    serving("signer", "confirm", "provider", "--expect", world.stranger.address, *owner, code=7)
    serving("signer", "confirm", "provider", "--expect", world.tee_signer.address, *owner)
    assert "Every registered TEE signer is confirmed." in serving("signer", "waiting").err
    assert "yes, by the owner" in serving("service", "show", "provider").out
    harmless = serving("service", "update", "--set", "url=https://new.example", *provider)
    assert "must confirm" not in harmless.err
    assert "url: https://provider.example -> https://new.example" in harmless.err
    costly = serving("service", "update", "--set", "model=other", *provider)
    assert " ".join((costly.err + costly.out).split()).count("must confirm") == 1
    assert "again before anything can be settled, because these change: model" in " ".join(costly.out.split())
    assert "no" in serving("service", "list").out
    unknown = serving("service", "update", "--set", "colour=blue", *provider, code=3)
    assert "input_price, output_price" in unknown.err
    serving("signer", "confirm", "provider", *owner)
    world.user.open_ledger(5 * COIN)
    world.user.fund(world.provider.address, 2 * COIN)
    warned = serving("service", "remove", "--key", "provider", "--dry-run")
    assert "users still have 2 coins in 1 account with you" in warned.err
    serving("signer", "revoke", "provider", *owner)
    serving("service", "remove", *provider)
    assert serving("service", "list", "--json").json == []


def test_a_removal_reads_the_database_that_the_store_was_moved_to(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    contract, provider = world.provider.service().address, world.provider.address
    path, database = (
        serving.home / "settlements" / f"31337-{contract}-{provider}.journal",
        "postgresql://a@127.0.0.1:1/b",
    )
    path.parent.mkdir()
    with open_journal(path, Identity(31337, "0x", contract, provider)):
        pass
    with closing(sqlite3.connect(path)) as journal, journal:
        journal.execute("INSERT INTO meta VALUES (?, ?)", (MOVED, database))
    said = serving("service", "remove", "--key", "provider", "--dry-run", code=3).err
    assert f"The journal {database} cannot be used." in " ".join(said.split())


def test_a_removal_says_what_a_usage_log_left_unsettled(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    contract, provider = world.provider.service().address, world.provider.address
    journal_path = serving.home / "settlements" / f"31337-{contract}-{provider}.journal"
    row = UsageRow(1, bytes(32), "a", world.user.address, world.user.address, 1, 0, 0, (COIN, COIN // 2))
    journal_path.parent.mkdir()
    with open_journal(journal_path, Identity(31337, "0x", contract, provider)) as journal:
        journal.begin_reading()
        journal.record([row], Prices(0, 0))
        journal.end_reading()
    said = serving("service", "remove", "--key", "provider", "--dry-run").err
    assert "Note: 1.5 coins of 1 user are unsettled in" in said


def test_settling_what_a_tee_signed(serving: Terminal, world: World, tmp_path: Path) -> None:
    world.with_account(10 * COIN, 2 * COIN)
    first = settlements_file(tmp_path, world, COIN, 1)
    second = settlements_file(tmp_path, world, 2 * COIN, 2)
    (foreseen,) = serving("settlement", "preview", str(first), "--key", "provider", "--json").json
    assert (foreseen["status"], foreseen["paid"]["coins"]) == ("SUCCESS", "1")
    dry = serving("settlement", "send", str(first), "--key", "provider", "--dry-run", "--json").json
    assert dry["outcomes"][0]["status"] == "SUCCESS"
    sent = serving("settlement", "send", str(first), "--key", "provider", "--yes", "--json").json
    assert sent["outcomes"][0]["paid"]["coins"] == "1"
    again = serving("settlement", "send", str(first), "--key", "provider", "--yes")
    assert "invalid nonce" in again.out
    partly = serving("settlement", "send", str(second), "--key", "provider", "--yes")
    assert "Total  1 coin paid, 1 coin unsettled" in partly.err
    earned = serving("earnings", "provider", "--json").json
    assert earned["total"]["coins"] == "2"
    listed = serving("earnings", "provider")
    assert [line.split("\t")[2] for line in listed.out.splitlines()] == ["paid", "1 coin", "1 coin"]
    assert listed.err == "Total 2 coins\n"


def test_a_journal_of_an_earlier_version_is_backed_up_before_it_is_migrated(lonely: Terminal, tmp_path: Path) -> None:
    journal, copy = tmp_path / "old.journal", tmp_path / "copy"
    with closing(sqlite3.connect(journal)) as database:
        database.executescript((Path(__file__).parents[1] / "settlement" / "journal_version_4.sql").read_text("utf-8"))
    refused = lonely("settlement", "list", "--journal", str(journal), code=3).err
    assert f"serving settlement backup COPY --journal {journal}. " in refused
    assert f"serving settle --journal {journal}\n" in refused
    assert "another version" in lonely("settlement", "backup", str(copy), "--journal", str(journal)).out
    with closing(sqlite3.connect(journal)) as old, closing(sqlite3.connect(copy)) as new:
        assert list(old.iterdump()) == list(new.iterdump())


def test_a_deliverable(serving: Terminal, world: World, tmp_path: Path) -> None:
    with_task(world)
    serving("deliverable", "acknowledge", "provider", "task-1", "--yes")
    serving("deliverable", "add", "user", "task-2", "0x" + ROOT.hex(), "--key", "provider", "--yes")
    serving("deliverable", "abandon", "user", "task-2", "--key", "provider", "--yes")
    path = str(task_file(tmp_path, *task(world)))
    checked = serving("doctor", "-u", "user", "-p", "provider", "-s", "fine-tuning", "--settlement", path)
    assert "All checks passed." in checked.out
    serving("deliverable", "settle", path, "--key", "provider", "--yes")
    listed = serving("deliverable", "list", "user", "provider", "--json").json
    assert [(one["id"], one["settled"]) for one in listed] == [("task-1", True), ("task-2", True)]
    shown = serving("deliverable", "show", "user", "provider", "task-1").out
    assert "0x" + b"secret".hex() in shown
    assert "settled without its secret" in serving("deliverable", "list", "user", "provider").out
    failed = serving("doctor", "-u", "user", "-p", "provider", "-s", "fine-tuning", "--settlement", path, code=9)
    assert "FAILS  nonce" in failed.out


def test_a_deliverable_that_is_not_acknowledged(serving: Terminal, world: World, tmp_path: Path) -> None:
    world.provider.register(world.fine_tuning_offer())
    provider = ("--key", "provider", "--yes")
    unfunded = serving("deliverable", "add", "user", "task-1", "0x" + ROOT.hex(), *provider, code=7)
    step = f"The user runs: serving ledger fund {world.provider.address} AMOUNT --service fine-tuning"
    assert step in " ".join(unfunded.err.split())
    world.owner.confirm(world.provider.address, "fine-tuning")
    world.user.open_ledger(10 * COIN)
    world.user.fund(world.provider.address, 2 * COIN, "fine-tuning")
    serving("deliverable", "add", "user", "task-1", "0x" + ROOT.hex(), *provider)
    path = task_file(tmp_path, *task(world))
    refused = serving("deliverable", "settle", str(path), *provider, code=7)
    assert '"encryptedSecret": "0x"' in " ".join(refused.err.split())
    path = task_file(tmp_path, *task(world, encrypted_secret=b""))
    settled = " ".join(serving("deliverable", "settle", str(path), *provider).out.split())
    assert "over 1 coin, for the penalty of 0.3 coins, as it is not acknowledged" in settled


def test_the_owners_settings(serving: Terminal, world: World) -> None:
    owner = ("--key", "owner", "--yes")
    serving("setting", "lock-time", "2", *owner)
    serving("setting", "lock-time", "0.5", *owner, code=7)
    serving("setting", "penalty", "50", *owner)
    assert "2 h" in serving("setting", "show").out
    assert serving("setting", "show", "-s", "fine-tuning", "--json").json["service"]["penalty_percent"] == 50
    stranger = serving("setting", "penalty", "50", "--key", "stranger", "--yes", code=7)
    assert "not the owner's" in stranger.err
    serving("registry", "recommend", "inference-v1.0", *owner)
    serving("registry", "register", "inference", "v2", world.stranger.address, *owner, code=7)
    serving("registry", "recommend", "inference-v9", *owner, code=3)
    listed = serving("registry", "list", "--json").json
    assert [datetime.fromisoformat(one["registered_at"]).tzinfo for one in listed] == [UTC, UTC]
    serving("ownership", "offer", "ledger", "stranger", *owner)
    (ledger, *_) = serving("ownership", "show", "--json").json
    assert ledger["offered_to"] == world.stranger.address
    told = serving("doctor", "--key", "stranger", "--json", code=9).json
    assert told["next_step"] == "serving ownership accept"
    assert "of ledger is offered to" in told["checks"][-1]["detail"]
    serving("ownership", "accept", "--key", "stranger", "--yes")
    serving("ownership", "accept", "--key", "stranger", "--yes", code=2)
    assert serving("ownership", "show", "--json").json[0]["owner"] == world.stranger.address
    serving("ownership", "offer", "ledger", "owner", "--what", "upgrade", "--key", "stranger", "--yes", code=3)
    serving("ownership", "transfer", "inference", "stranger", *owner)
    serving("ownership", "renounce", "inference", "--key", "stranger", "--yes")


def test_the_doctor_leads_from_nothing_to_a_payment(serving: Terminal, world: World) -> None:
    def next_step(*words: str) -> str:
        return str(serving("doctor", *words, "--json", code=9).json["next_step"])

    assert next_step() == "serving ledger open '3 coins'"
    assert next_step("-p", "provider") == "serving ledger open '3 coins'"
    world.with_account()
    assert "All checks passed." in serving("doctor", "-p", "provider").out
    assert "All checks passed." in serving("doctor").out


def test_coming_from_the_old_version(serving: Terminal, world: World, tmp_path: Path) -> None:
    unready = serving("migrate", "check", "provider", "--key", "provider", "--json", code=9).json
    assert "serving service register" in unready["next_step"]
    details = " ".join(one["detail"] for one in unready["checks"])
    assert re.search(r"\.\d{7}", details) is None  # coins that paid for gas have 18 decimals
    assert "0x0000000000000000000000000000000000000000" not in details
    old = serving("migrate", "check", "owner", "--calldata", "0x2ba43b8200", "--json", code=None)
    assert old.code in (0, 9)
    with_task(world)
    serving("migrate", "check", "provider", "--key", "provider")
    serving("migrate", "check", "user")
    serving("migrate", "check", "owner")
    typed = tmp_path / "typed.json"
    typed.write_text(json.dumps({"types": {"VerifierMessage": [{"name": "providerSigner", "type": "address"}]}}))
    told = serving("migrate", "check", "owner", "--typed-data", str(typed), code=9)
    assert "Remove providerSigner from VerifierMessage" in told.out


def test_a_wallet_that_cannot_pay_for_the_migration_gets_what_it_lacks(serving: Terminal, world: World) -> None:
    address = world.stranger.address
    for role, needed in (("provider", 100 * COIN), ("user", 3 * COIN)):
        world.chain.request("hardhat_setBalance", [address, hex(needed)])  # and nothing for gas
        unready = serving("migrate", "check", role, "--address", address, "--json", code=9).json
        assert unready["next_step"] == f"serving local fund {address}"


@pytest.mark.parametrize("role", ["user", "provider", "owner"])
def test_a_call_of_the_old_version_is_examined_without_a_key_and_a_node(
    lonely: Terminal, nobody: str, role: str
) -> None:
    lonely("network", "add", "local", "--url", nobody)
    old = lonely("migrate", "check", role, "--calldata", "0xf2c6741a", code=9)
    assert "of the old version" in old.out
    assert "The steps of the migration were not checked" in old.err
    assert "All checks passed." in lonely("migrate", "check", role, "--calldata", "0x12345678").out
    assert "Next" in lonely("migrate", "check", role, code=None).err


def test_events_and_watching(serving: Terminal, world: World) -> None:
    start = world.connection.block_number() + 1
    world.with_account()
    lines = serving("events", "--from-block", str(start), "--about", "user", "--json").out.splitlines()
    assert [json.loads(line)["event"] for line in lines][:2] == ["LedgerCreated", "Deposited"]
    assert json.loads(lines[1])["arguments"]["amount"] == {"wei": str(10 * COIN), "coins": "10"}
    (deposited,) = [
        line for line in serving("events", "--from-block", str(start)).out.splitlines() if "Deposited" in line
    ]
    assert "LedgerManager.Deposited  user=user  payer=user  amount=10 coins  availableBalance=10 coins" in deposited
    block = world.connection.block(int(deposited.split()[0]))
    assert f"  {local_time(int(block['timestamp'], 16))}  " in deposited
    (line,) = serving("account", "watch", "--times", "1", "--json").out.splitlines()
    assert json.loads(line)["available"]["coins"] == "5"
    assert "5 coins" in serving("account", "watch", "--times", "2", "--every", "0.2").out


def test_a_transaction_is_shown_with_its_call_and_events(serving: Terminal, world: World) -> None:
    receipt = world.user.open_ledger(3 * COIN)
    shown = serving("transaction", "show", receipt.transaction_hash, "--json").json
    assert (shown["state"], shown["call"]["function"]) == ("done", "addLedger")
    assert [one["event"] for one in shown["events"]] == ["LedgerCreated", "Deposited"]
    assert "LedgerManager.addLedger" in serving("transaction", "show", receipt.transaction_hash).out
    serving("transaction", "show", "0x" + "00" * 32, code=6)
    assert "not the hash of a transaction" in serving("transaction", "show", "0x12", code=2).err


def test_status(serving: Terminal, world: World) -> None:
    told = serving("status", "--json").json
    assert (told["network"], told["chain_id"], told["key"]) == ("local", 31337, world.user.address)
    assert "block" in serving("status").out
