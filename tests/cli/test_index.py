# SPDX-License-Identifier: Apache-2.0
"""`serving index`: run, status and check."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from serving_network.contracts.build.artifacts import ROOT
from serving_network.contracts.models import Offer
from tests.cli.conftest import Terminal
from tests.cli.test_walkthroughs import without_chance
from tests.clients.network_fixture import World

OFFER = Offer("chatbot", "https://a", "a model", "TeeML", 10, 20, "", "0x" + "7e" * 20)  # type: ignore[arg-type]
PAGE = ROOT / "docs" / "indexing.md"


def test_an_index_is_built_shown_and_checked(serving: Terminal, world: World) -> None:
    world.user.deposit(5 * 10**18)
    run = serving("index", "run", "--once")
    assert "The index agrees with the contracts." in run.out
    assert "ledger holds 5 coins." in run.out
    assert "Indexed up to block" in run.err
    again = serving("index", "run", "--once", "--json").json
    assert again["events"] == 0
    assert again["check"]["agrees"] is True
    status = serving("index", "status", "--json").json
    assert status["block"] == again["block"]
    assert status["contents"]["users"] == 1
    assert status["check"]["block"] == again["block"]
    assert "last check" in serving("index", "status").out
    assert serving("index", "check", "--json").json["compared"]["ledgers"] == 1


def test_the_page_shows_what_the_commands_print(serving: Terminal, world: World) -> None:
    """With INDEX=write in the environment, the output in the page is updated."""
    world.user.deposit(5 * 10**18)
    page = PAGE.read_text("utf-8")
    before, shown, after = re.split(r"(?<=```console\n)(.*?)(?=```\n)", page, maxsplit=1, flags=re.DOTALL)
    lines = []
    for command in re.findall(r"^\$ serving (.*)$", shown, re.MULTILINE):
        printed = serving(*shlex.split(command))
        text = (printed.err + printed.out).replace(str(serving.home), "~/.config/serving-network")
        lines.append(f"$ serving {command}\n{text}")
    if os.environ.get("INDEX") == "write":
        PAGE.write_text(before + "".join(lines) + after, "utf-8")
    else:
        assert without_chance("".join(lines)) == without_chance(shown)


def test_a_difference_is_named_and_exits_with_code_9(serving: Terminal, world: World) -> None:
    world.user.deposit(5 * 10**18)
    serving("index", "run", "--once")
    (index,) = (serving.home / "indexes").glob("*.sqlite")
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("UPDATE ledger SET available = '7' WHERE until IS NULL")
    checked = serving("index", "check", code=9)
    assert f"ledger: available of {world.user.address} is 7 in the index, and 5000000000000000000" in checked.out
    assert "The index differs from the contracts." in checked.out
    assert serving("index", "run", "--once", "--json", code=9).json["check"]["agrees"] is False


def test_a_row_that_no_contract_answers_is_compared_with_the_chain(serving: Terminal, world: World) -> None:
    world.user.deposit(5 * 10**18)
    serving("index", "run", "--once")
    (index,) = (serving.home / "indexes").glob("*.sqlite")
    with closing(sqlite3.connect(index)) as db, db:
        db.execute("UPDATE tx SET sender = ?", (world.provider.address,))
    assert "The index agrees with the contracts." in serving("index", "check", "--no-history").out
    checked = serving("index", "check", code=9).out
    assert f"is {world.provider.address} in the index, and {world.user.address} on the chain." in checked
    assert "table tx: sender of row 0x" in checked


def test_a_search_shows_what_the_index_knows(serving: Terminal, world: World) -> None:
    world.user.deposit(5 * 10**18)
    world.provider.register(OFFER, stake=100 * 10**18)
    world.user.fund(world.provider.address, 2 * 10**18)
    serving("index", "run", "--once")
    user = serving("index", "search", world.user.address.lower()).out
    assert "ledger: 5 coins, 3 coins available" in user
    assert f"inference-v1.0: 2 coins with {world.provider.address}" in user
    assert serving("index", "search", world.user.address[:10].lower()).out == user
    (hit,) = serving("index", "search", "a model", "--json").json
    assert hit["key"] == world.provider.address
    assert hit["details"][0]["input_price"] == 10
    status = serving("index", "status", "--json").json
    assert status["newest_oddities"] == []
    name = serving("index", "search", "inference").out
    assert "inference-v1.0: owner" in name
    (tx,) = {one["since"]["tx"] for one in serving("index", "search", "a model", "--json").json[0]["details"]}
    assert "inference-v1.0.addOrUpdateService by" in serving("index", "search", tx).out
    assert "Nothing found." in serving("index", "search", "nobody").err


def test_without_an_index_and_with_the_file_of_something_else(serving: Terminal, tmp_path: Path) -> None:
    missing = serving("index", "status", code=3)
    assert "Build it: serving index run\n" in missing.err
    named = str(tmp_path / "an index")
    for verb in (["index", "status"], ["index", "search", "x"], ["index", "check"]):
        assert f"serving index run --index '{named}'\n" in serving(*verb, "--index", named, code=3).err
    with closing(sqlite3.connect(tmp_path / "journal")) as db, db:
        db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute("INSERT INTO meta VALUES ('schema', '4')")
    other = serving("index", "run", "--once", "--index", str(tmp_path / "journal"), code=3)
    assert "is not an index" in other.err
