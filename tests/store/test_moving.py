# SPDX-License-Identifier: Apache-2.0
"""A journal moves from its file to PostgreSQL: everything arrives, and never can both be used."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving_network.messages.receipts import Ending
from serving_network.settlement.journal import open_journal, read_journal
from serving_network.store.database import DatabaseFailure
from serving_network.store.intake import Intake
from serving_network.store.location import Location, PostgresStore, beside
from serving_network.store.moving import move_journal
from serving_network.store.opening import JournalFailure, exists, read_only
from serving_network.store.postgres import Postgres
from serving_network.store.schema import TABLES
from serving_network.store.spool import Spool
from tests import zygote
from tests.postgres import PostgresServer
from tests.settlement.test_journal_rules import IDENTITY, PRICES, USERS, read, row, send
from tests.settlement.test_served import SIGNER, delivered, terms


def move(source: Path, target: PostgresStore) -> Any:
    return move_journal(source, target, IDENTITY, lambda *_: None)


def content(store: Location) -> dict[str, set[tuple[Any, ...]]]:
    """All rows, except what says that a file was moved and which settler was the last."""
    with closing(read_only(store, 30)) as db:
        rows = {table: set(map(tuple, db.execute(f"SELECT * FROM {table}").fetchall())) for table in TABLES}
    rows["meta"] = {one for one in rows["meta"] if one[0] not in ("moved_to", "fence")}
    return rows


async def _serve(store: Location, *numbers: int) -> None:
    intake = Intake(store, IDENTITY, SIGNER)
    intake.open()
    try:
        for number in numbers:
            await intake.set_balance(USERS[0], 10**9, 0, 7)
            request = terms(number, USERS[0])
            assert await intake.finish(request, delivered(number), Ending.COMPLETE, 1) is not None
    finally:
        intake.close()


def filled(path: Path) -> Path:
    """A journal with rows in most tables."""
    asyncio.run(_serve(path, 101, 102, 103))
    with open_journal(path, IDENTITY) as journal:
        read(journal, *(row(number, USERS[number % 2]) for number in range(1, 30)))
        read(journal, row(31, USERS[0], fees=(10**30, 7)))
        journal.take_served(PRICES)
        send(journal, 1, USERS[0])
    return path


def test_everything_arrives_and_numbers_go_on(postgres: PostgresServer, tmp_path: Path) -> None:
    source, target = filled(tmp_path / "j"), postgres.store(tmp_path / "store")
    before = content(source)
    seen: list[tuple[str, int, int]] = []
    moved = move_journal(source, target, IDENTITY, lambda *one: seen.append(one))
    assert content(target) == before
    rows = sum(map(len, before.values())) + 1  # the mark
    assert (seen[-1], moved.again) == (("copying", rows, rows), False)
    assert (moved.users, moved.requests, moved.served) == (2, 33, 3)
    with open_journal(target, IDENTITY) as journal:
        read(journal, *(row(number, USERS[2]) for number in range(20, 40)))
        assert sum(user.requests for user in journal.users()) == 42, "what was known is still known"
        send(journal, 1, USERS[2])
        assert len(journal.open_batches()) == 2
    asyncio.run(_serve(target, 104))
    with closing(read_only(target, 30)) as db:
        found = db.execute("SELECT sequence, billed_before FROM served ORDER BY number").fetchall()
    assert found == [(1, "0"), (2, "101"), (3, "203"), (4, "306")]


def test_the_file_is_refused_from_then_on(postgres: PostgresServer, tmp_path: Path) -> None:
    source, target = filled(tmp_path / "j"), postgres.store(tmp_path / "store")
    move(source, target)
    for use in (open_journal(source, IDENTITY), read_journal(source)):
        with pytest.raises(JournalFailure, match=re.escape(f"was moved to {target.url}")) as caught, use:
            pass
        assert f"--journal {target.url}" in str(caught.value.next_step)
    with pytest.raises(JournalFailure, match="was moved to"):
        Intake(source, IDENTITY, SIGNER).open()
    assert move(source, target).again
    with pytest.raises(JournalFailure, match=re.escape(f"was moved to {target.url}")):
        move(source, postgres.store(tmp_path / "other"))


def fail_to_move(
    monkeypatch: pytest.MonkeyPatch, source: Path, target: PostgresStore, name: str, *, after: bool
) -> None:
    """Move, but the connection is lost in this method; `after` lets it do its work first."""
    whole = getattr(Postgres, name)

    def broken(*given: Any) -> Any:
        if after:
            whole(*given)
        raise DatabaseFailure("gone", lost=True)

    with monkeypatch.context() as patch:
        patch.setattr(Postgres, name, broken)
        with pytest.raises(JournalFailure, match="cannot be used") as caught:
            move(source, target)
    assert caught.value.cause == "gone."


def usable(store: Location) -> bool:
    if not exists(store):
        return False
    try:
        with open_journal(store, IDENTITY) as journal:
            return bool(journal.users())
    except JournalFailure:
        return False


def test_a_move_that_fails_before_its_end_leaves_the_file_in_use(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = filled(tmp_path / "j"), postgres.store(tmp_path / "store")
    before = content(source)
    for name, after in (("begin_creating", False), ("append", True), ("number_on", True)):
        fail_to_move(monkeypatch, source, target, name, after=after)
        assert usable(source), name
        assert not usable(target), name
    asyncio.run(_serve(source, 104))
    assert content(source) != before
    move(source, target)
    assert content(target)["served"] == content(source)["served"]


@pytest.mark.parametrize("committed", [False, True])
def test_a_lost_answer_leaves_the_file_out_of_use_until_the_move_is_repeated(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    source, target = filled(tmp_path / "j"), postgres.store(tmp_path / "store")
    before = content(source)
    fail_to_move(monkeypatch, source, target, "commit", after=committed)
    assert not usable(source)
    assert move(source, target).again is committed
    assert content(target) == before


def test_two_journals_are_never_merged(postgres: PostgresServer, tmp_path: Path) -> None:
    source, target = filled(tmp_path / "j"), postgres.store(tmp_path / "store")
    with open_journal(target, IDENTITY) as journal:
        read(journal, row(1))
    with pytest.raises(JournalFailure, match="already contains a journal"):
        move(source, target)
    assert usable(source)
    other = filled(tmp_path / "other")
    empty = postgres.store(tmp_path / "empty")
    move(source, empty)
    with pytest.raises(JournalFailure, match="already contains a journal"):
        move(other, empty)
    assert usable(other)


def test_what_a_gateway_has_not_finished_stays_with_it(postgres: PostgresServer, tmp_path: Path) -> None:
    source, target = filled(tmp_path / "j"), postgres.store(tmp_path / "store")

    async def killed() -> None:
        intake = Intake(source, IDENTITY, SIGNER)
        intake.open()
        await intake.begin(terms(9, USERS[0]), 1)
        intake.close()

    asyncio.run(killed())
    with pytest.raises(JournalFailure, match="has not finished") as caught:
        move(source, target)
    assert "serving gateway run" in str(caught.value.next_step)
    asyncio.run(_serve(source))
    with closing(Spool(beside(source, ".spool"))) as spool:
        spool.append({"kept": "for later"})
    with pytest.raises(JournalFailure, match="has not finished"):
        move(source, target)
    beside(source, ".spool").unlink()
    move(source, target)


def serving(*words: str) -> tuple[int, str, str]:
    with closing(zygote.Piped(words)) as process:
        out, err = process.communicate(120)
        return process.returncode or 0, out, err


def test_the_command(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_HOME", str(tmp_path / "home"))
    source, target = filled(tmp_path / "j"), postgres.store(tmp_path / "home/settlements/x")
    words = ("settlement", "move", target.url, "--journal", str(source))
    code, out, _ = serving(*words, "--dry-run")
    assert (code, "Nothing was written" in out, usable(source)) == (0, True, True)
    code, out, _ = serving(*words, "--yes", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["database"], told["requests"], told["served"], told["again"]) == (target.url, 33, 3, False)
    code, out, _ = serving(*words, "--yes")
    assert (code, "was moved already to" in " ".join(out.split())) == (0, True)
    code, _, err = serving("settlement", "list", "--journal", str(source))
    assert code == 3
    assert "was moved to" in " ".join(err.split())
    code, _, err = serving("gateway", "drain", "--journal", str(source))
    assert (code, "was moved to" in " ".join(err.split())) == (3, True)
    for wrong, text in ((str(tmp_path / "file"), "not the URL"), ("postgresql://a:b@c/d", "contains a password")):
        code, _, err = serving("settlement", "move", wrong, "--journal", str(source))
        assert code in (2, 3)
        assert text in " ".join(err.split())
