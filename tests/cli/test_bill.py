# SPDX-License-Identifier: Apache-2.0
"""`serving bill`: receipts fetched from a gateway, shown, verified against the chain, and exported."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Terminal
from tests.clients.network_fixture import World
from tests.gateway.background import gateway
from tests.gateway.stage import CHAT, Gate, Stage

FEE = 12 * 100 + 5 * 200


@pytest.fixture
def stage(served: tuple[World, str], world: World, tmp_path: Path) -> Stage:
    world.with_account()
    return Stage(world, served[1], tmp_path / "provider.journal")


@pytest.fixture
def gate(stage: Stage) -> Iterator[Gate]:
    with gateway(stage) as gate:
        yield gate


def chat(gate: Gate, token_id: int = 255) -> None:
    """One answer, which costs FEE."""
    headers = {"Authorization": gate.stage.token(token_id=token_id), "Content-Type": "application/json"}
    request = urllib.request.Request(gate.url("/v1/chat/completions"), json.dumps(CHAT).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def test_a_bill_is_fetched_shown_and_proven(serving: Terminal, stage: Stage, gate: Gate, tmp_path: Path) -> None:
    provider = stage.world.provider.address
    assert "fetch" in serving("bill", "verify", provider, code=3).err
    serving("bill", "fetch", provider)
    assert serving("bill", "verify", provider).out.endswith("no coin was settled, so there is no payment to prove.\n")
    chat(gate)
    serving("bill", "fetch", provider)
    unsettled = serving("bill", "verify", provider).out
    assert "covers every coin" not in unsettled
    assert "covered by receipts" not in unsettled
    assert unsettled.endswith("there is no payment to prove. 1 receipt verified without a fault.\n")
    chat(gate, token_id=7)
    assert serving("bill", "fetch", provider, "--json").json == {"new": 1, "receipts": 2}
    assert asyncio.run(stage.settle()).paid == 2 * FEE
    chat(gate)
    assert serving("bill", "fetch", provider).out == "Fetched 1 new receipt, 3 in all.\n"
    assert serving("bill", "fetch", provider, "--json").json == {"new": 0, "receipts": 3}

    shown = serving("bill", "show", "--by", "key", "--json").json
    assert [(one["key"], one["requests"]) for one in shown["spending"]] == [("session", 2), ("key 7", 1)]
    assert shown["total"]["wei"] == str(3 * FEE)
    assert "model-1\t3\t6600 wei" in serving("bill", "show", provider, "--by", "model", "--days", "1").out
    assert serving("bill", "show", stage.world.user.address, "--json").json["spending"] == []

    verdict = serving("bill", "verify", provider, "--json").json
    assert (verdict["proven"], verdict["covered"]["wei"], verdict["not_settled"]["wei"]) == (True, str(2 * FEE), "2200")
    assert [(one["first_receipt"], one["last_receipt"]) for one in verdict["settlements"]] == [(1, 2)]
    assert "a signed receipt covers every coin" in serving("bill", "verify", provider).out

    for redact in (False, True):
        file = tmp_path / "bill.json"
        serving("bill", "export", provider, str(file), *(["--redact"] if redact else []))
        assert ("model-1" in file.read_text()) is not redact
        alone = Terminal(tmp_path / "third-party", {"SERVING_NETWORK": "local"})
        alone("network", "add", "local", "--url", stage.url)
        assert alone("bill", "verify", "--file", str(file), "--json").json["proven"] is True


def test_coins_that_no_receipt_covers_are_named(serving: Terminal, stage: Stage, gate: Gate) -> None:
    provider = stage.world.provider.address
    chat(gate)
    serving("bill", "fetch", provider)
    with closing(sqlite3.connect(stage.file)) as connection, connection:
        connection.execute("UPDATE served SET output_fee = '5000'")
    assert asyncio.run(stage.settle()).paid == 12 * 100 + 5000
    found = serving("bill", "verify", provider, code=9)
    assert "Settled without receipts: 6200 wei" in found.out
    assert "Not proven." in found.out
    verdict = serving("bill", "verify", provider, "--json", code=9).json
    assert [one["coverage"] for one in verdict["settlements"]] == ["no receipt"]
    assert verdict["uncovered"]["wei"] == "6200"


def test_a_changed_receipt_is_named(serving: Terminal, stage: Stage, gate: Gate, tmp_path: Path) -> None:
    provider = stage.world.provider.address
    chat(gate)
    serving("bill", "fetch", provider)
    file = tmp_path / "bill.json"
    serving("bill", "export", provider, str(file))
    content = json.loads(file.read_text())
    content["receipts"][0]["outputFee"] = "999"
    file.write_text(json.dumps(content))
    found = serving("bill", "verify", "--file", str(file), "--json", code=9).json
    assert {one["fault"] for one in found["problems"]} == {"signature", "fee"}
    content["receipts"][0]["outputFee"] = "x"
    file.write_text(json.dumps(content))
    assert "not a bill" in serving("bill", "verify", "--file", str(file), code=2).err
    mistaken = json.loads(serving("bill", "verify", str(file), "--json", code=3).err)
    assert f"serving bill verify --file {file}" in mistaken["next_step"]


def test_what_cannot_be_verified(serving: Terminal, stage: Stage) -> None:
    assert "Name a provider" in serving("bill", "verify", code=2).err
    stage.world.provider.update(stage.world.offer(url="http://127.0.0.1:9"))
    assert "does not answer" in serving("bill", "fetch", stage.world.provider.address, code=5).err
    assert "no receipts on this machine" in serving("bill", "show").err
