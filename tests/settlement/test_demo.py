# SPDX-License-Identifier: Apache-2.0
"""The demo, and `serving settle` as a person or a script runs it, with their exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving_network.cli.main import app
from serving_network.demo.example import MINIMUM_FEE, Part, users
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.localchain.server import running_server
from serving_network.wallet.keys import KeyStore
from tests.docs.test_readme import demo
from tests.settlement.stage import COIN, USERS, prepare_in_process

TEE_KEY = "07" * 32


def serving(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_the_demo_reports_every_step_and_the_books_balance() -> None:
    result = serving("demo", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["balanced"]
    assert told["seconds"] < 90
    assert told["bill_proven"]
    first, second, third = told["settlements"]
    assert first["log"] == {"new": 5280, "known": 0, "rejected": 0, "left_out": 0, "continued_at_line": None}
    parts = {user.address: user.part for user in users()}
    expected = {
        Part.ORDINARY: "settled",
        Part.REFUNDING: "settled",
        Part.SHORT: "partly settled",
        Part.SMALL: "under minimum",
        Part.UNACKNOWLEDGED: "not acknowledged",
    }
    assert len(first["users"]) == 120
    for line in first["users"]:
        assert line["status"] == expected[parts[line["user"]]], line
        assert int(line["fee"]) == int(line["paid"]) + int(line["unsettled"])
        if parts[line["user"]] is Part.SMALL:
            assert int(line["unsettled"]) < MINIMUM_FEE
        if parts[line["user"]] is Part.REFUNDING:
            assert "will not be covered" in line["warning"]
    assert {line["status"] for line in second["users"] if parts[line["user"]] is Part.SHORT} == {"settled"}
    assert [line["status"] for line in third["users"]] == ["settled"] * 3
    assert third["total"]["paid"] == str(sum((36 * 3 - 2 * 6, 12 * 3, 36 * 3 - 2 * 6)) * 10**15)
    story = " ".join(step["what"] for step in told["story"])
    for words in (
        "acknowledged: paid in full, 2 coins",
        "the penalty was paid, 0.6 coins",
        "from the ledger to the wallet",
        "cancelled a stream, and was billed what arrived: 12 tokens, 0.036 coins",
        "got 1 answer for 0.096 coins, then was refused",
        "signed receipts cover every coin that was settled, 0.096 coins",
    ):
        assert words in story


def test_the_demo_reads_well() -> None:
    output = demo()
    assert output.count("balanced") == 3
    assert re.search(r"settled 5280 requests: [\d.]+ coins of [\d.]+ coins from 115 users", output)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    chain = EmbeddedChain()
    prepare_in_process(chain, USERS[:4], COIN)
    with running_server(chain) as server:
        yield server.url


@pytest.fixture
def home(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's directory, with the network and the keys in the environment."""
    monkeypatch.setenv("SERVING_HOME", str(tmp_path))
    monkeypatch.setenv("SERVING_PRIVATE_KEY", "0x" + development_keys()[1].to_bytes().hex())
    monkeypatch.setenv("SERVING_TEE_KEY", TEE_KEY)
    monkeypatch.delenv("SERVING_NETWORK", raising=False)
    ledger = "0x9fE46736679d2D9a65F0992F2272dE9f3c7fa6e0"
    added = serving("network", "add", "here", "--url", url, "--chain-id", "31337", "--ledger", ledger)
    assert added.exit_code == 0, added.output
    assert serving("network", "use", "here").exit_code == 0
    return tmp_path


def write(path: Path, *rows: tuple[str, str, int]) -> Path:
    path.write_text("".join(json.dumps({"id": i, "user": u, "time": 1, "fee": fee}) + "\n" for i, u, fee in rows))
    return path


def test_everything_in_the_home_is_private(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = home / "home"
    files.mkdir(mode=0o700)
    shutil.move(home / "config.toml", files)
    monkeypatch.setenv("SERVING_HOME", str(files))
    monkeypatch.setenv("SERVING_PASSWORD", "a long password")
    monkeypatch.setattr("serving_network.cli.console.home.KeyStore", partial(KeyStore, scrypt_work=2))
    log = write(home / "usage.jsonl", ("h", USERS[3].address, 5), ("h", USERS[3].address, 5))
    allowing = os.umask(0)
    try:
        assert serving("key", "new", "main").exit_code == 0
        settled = serving("settle", str(log), "--json")
        rejects = Path(json.loads(settled.stdout)["rejects"])
        made = [path for path in files.rglob("*") if path.is_file()]
        journals = [path for path in made if path.name.endswith(".journal")]
        assert {"config.toml", "main.json"} < {path.name for path in made}
        assert journals
        assert [path for path in (rejects, *files.rglob("*")) if path.stat().st_mode & 0o077] == []
        for path in (rejects, *journals):
            path.chmod(0o644)  # as earlier versions left them
        serving("settle", str(log), "--json")
        assert [path for path in (rejects, *journals) if path.stat().st_mode & 0o077] == []
    finally:
        os.umask(allowing)


def test_exit_codes_say_what_is_left(home: Path) -> None:
    good, stranger = USERS[0].address, USERS[50].address
    log = home / "usage.jsonl"
    result = serving("settle", str(write(log, ("a", good, 10))))
    assert result.exit_code == 0, result.output
    assert "settled" in result.stdout
    result = serving("settlement", "books")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("balanced") == 2
    result = serving("settle", str(write(log, ("a", good, 10), ("b", good, 5), ("b", good, 5))), "--json")
    assert result.exit_code == 10, result.output
    told = json.loads(result.stdout)
    assert told["total"]["paid"] == "5"
    assert told["log"] == {"new": 1, "known": 0, "rejected": 1, "left_out": 0, "continued_at_line": 2}
    reject = json.loads(Path(told["rejects"]).read_text())
    assert reject["line"] == 3
    assert "duplicate request id" in reject["reason"]
    result = serving("settle", str(write(log, ("c", stranger, 10))))
    assert result.exit_code == 11
    assert "no account" in result.stdout
    result = serving("settle", str(write(log, ("d", good, -1))))
    assert result.exit_code == 12
    result = serving("settle")
    assert result.exit_code == 11


def test_a_dry_run_leaves_no_trace(home: Path) -> None:
    log = write(home / "usage.jsonl", ("dry", USERS[1].address, 10))
    result = serving("settle", str(log), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "would be settled" in result.stdout
    result = serving("settle", str(log), "--json")
    assert json.loads(result.stdout)["log"]["new"] == 1


def test_a_log_of_another_system_is_settled_unchanged(home: Path) -> None:
    log = home / "trace.csv"
    log.write_text("TIMESTAMP,ContextTokens,GeneratedTokens,customer\n2023-11-16 18:15:46.6805900,374,44,acme\n")
    names = home / "users.json"
    names.write_text(json.dumps({"acme": USERS[2].address}))
    maps = ["time=TIMESTAMP", "input_tokens=ContextTokens", "output_tokens=GeneratedTokens", "user=customer", "id=@row"]
    options = [word for one in maps for word in ("--map", one)]
    result = serving("settle", str(log), *options, "--users", str(names), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["total"]["paid"] == str(374 * 1_000_000 + 44 * 3_000_000)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["absent.jsonl"], 2, "cannot be read"),
        (["absent.log"], 2, "not clear from its name"),
        (["absent.jsonl", "--map", "colour=red"], 2, "colour"),
        (["absent.jsonl", "--columns", "absent.toml"], 3, "absent.toml"),
        (["absent.jsonl", "--format", "xml"], 2, "not a log format"),
        (["--service", "fine-tuning"], 3, "fine-tuning"),
        (["--tee-key", "nobody"], 3, "nobody"),
    ],
)
@pytest.mark.usefixtures("home")
def test_unusable_input_is_reported_with_one_next_step(words: list[str], code: int, says: str) -> None:
    result = serving("settle", *words)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert "Next" in result.stderr


@pytest.mark.usefixtures("home")
def test_a_missing_or_invalid_tee_key_is_reported_but_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_TEE_KEY", "secret")
    result = serving("settle")
    assert result.exit_code == 4
    assert "secret" not in result.output
    monkeypatch.delenv("SERVING_TEE_KEY")
    assert serving("settle").exit_code == 4
