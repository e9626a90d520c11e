# SPDX-License-Identifier: Apache-2.0
"""`serving index`: run, status and check."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.conftest import Terminal
from tests.clients.network_fixture import World


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


def test_without_an_index_and_with_the_file_of_something_else(serving: Terminal, tmp_path: Path) -> None:
    missing = serving("index", "status", code=3)
    assert "Build it: serving index run" in missing.err
    with closing(sqlite3.connect(tmp_path / "journal")) as db, db:
        db.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute("INSERT INTO meta VALUES ('schema', '4')")
    other = serving("index", "run", "--once", "--index", str(tmp_path / "journal"), code=3)
    assert "is not an index" in other.err
