# SPDX-License-Identifier: Apache-2.0
"""Every value of every row is compared with an index that is built again from the chain."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving_network.chain.reading import AsyncReader
from serving_network.explorer.index import comparing
from serving_network.explorer.index.comparing import Comparison
from serving_network.explorer.index.opening import reading
from serving_network.explorer.index.rereading import TABLES, compare_tables, recheck
from serving_network.explorer.index.schema import TABLES as SCHEMA
from serving_network.testing import local_network
from tests.explorer.index.histories import COIN, History, Town, advance, prepared
from tests.explorer.index.test_nodes import Limited

PLACES = [(table.name, column) for table in TABLES for column in table.columns]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Path]]:
    """A network with rows in every table, and an index of it."""
    with local_network() as network:
        town = Town(network)
        history = History(town, random.Random(4))
        prepared(history)
        town.send(town.owner, town.ledger, "registerService", "other", "held", town.foreign[0], "")
        town.send(town.users[0], town.ledger, "transferFund", town.providers[0], "other-held", COIN)
        for _ in range(12):
            history.settle()
            history.finish()
        index = tmp_path_factory.mktemp("index") / "index"
        asyncio.run(advance(asyncio.run(AsyncReader.open(town.chain)), index))
        with closing(sqlite3.connect(index)) as db, db:  # these do not happen on a chain of this project's contracts
            db.execute("INSERT INTO oddity VALUES (?, ?, ?, ?)", (1 << 20, town.ledger, "0x", "odd"))
        yield town, index


def tampered(original: Path, copy: Path, *statements: str) -> Path:
    shutil.copy(original, copy)
    with closing(sqlite3.connect(copy)) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement
    return copy


def found_in(index: Path, original: Path) -> list[tuple[str, str]]:
    comparison = Comparison()
    with reading(index) as ours, reading(original) as theirs:
        compare_tables(ours, theirs, comparison)
    return [(one.contract, one.what) for one in comparison.differences]


def test_every_column_of_every_table_is_compared(
    built: tuple[Town, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "MOST_SHOWN", 10_000)
    _, original = built
    with closing(sqlite3.connect(original)) as db:
        names = {line.split()[2] for line in SCHEMA.splitlines() if line.startswith("CREATE TABLE")}
        assert {table.name for table in TABLES} == names - {"meta", "seen"}
        for table in TABLES:
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({table.name})")}
            assert {*table.key, *table.columns} == columns
    statements = []
    for table in TABLES:
        key = ", ".join(table.key)
        for column in table.columns:
            numbers = {"until": "1", "batch": "1", "position": "1", "since": "1", "read_at": "0", "input": "x'ff'"}
            value = numbers.get(column, f"'x' || {column}")
            where = f"({key}) = (SELECT {key} FROM {table.name} ORDER BY {key} LIMIT 1)"
            statements.append(f"UPDATE {table.name} SET {column} = coalesce({value}, 7) WHERE {where}")
    index = tampered(original, tmp_path / "index", *statements)
    places = {(place, what.partition(" of row ")[0]) for place, what in found_in(index, original)}
    assert {(f"table {name}", column) for name, column in PLACES} - places == set()


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_row_that_is_missing_or_too_many_is_named(built: tuple[Town, Path], tmp_path: Path, table: str) -> None:
    _, original = built
    index = tampered(original, tmp_path / "index", f"DELETE FROM {table}")
    assert found_in(index, original)[0][0] == f"table {table}"
    assert found_in(original, index)[0][0] == f"table {table}"


def test_a_check_reads_the_chain_again(built: tuple[Town, Path], tmp_path: Path) -> None:
    town, original = built
    chain = asyncio.run(AsyncReader.open(town.chain))

    def differences(*statements: str) -> list[tuple[str, str]]:
        index = tampered(original, tmp_path / "index", "DELETE FROM oddity", *statements)
        with reading(index) as found:
            checked = asyncio.run(recheck(found, chain, lambda _: None))
        assert checked.compared["rows"] > 100
        assert checked.agrees is not bool(checked.differences)
        return [(one.contract, one.what.partition(" of row ")[0]) for one in checked.differences]

    assert differences() == []
    assert differences("UPDATE tx SET sender = recipient WHERE hash = (SELECT max(hash) FROM tx)") == [
        ("table tx", "sender")
    ]
    assert ("table seen", "hash of") in {
        (place, what[:7]) for place, what in differences("UPDATE seen SET hash = '0x'")
    }
    assert ("table account", "balance") in differences("UPDATE account SET balance = 'nonsense' WHERE until IS NULL")


def test_what_was_read_later_from_a_pruned_node_may_differ(town: Town, tmp_path: Path) -> None:
    prepared(History(town, random.Random(1)))
    town.send(town.puppet, town.ledger, "updateAdditionalInfo", "of a contract")
    town.chain.request("hardhat_mine", ["0x100"])
    asyncio.run(advance(asyncio.run(AsyncReader.open(Limited(town.chain, states=100))), tmp_path / "pruned"))
    archive = asyncio.run(AsyncReader.open(town.chain))
    with reading(tmp_path / "pruned") as found:
        assert asyncio.run(recheck(found, archive, lambda _: None)).differences == ()
