# SPDX-License-Identifier: Apache-2.0
"""A full disk: rows of requests under way go to the spool, no money is free, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from serving_network.messages.receipts import Ending
from serving_network.store.billing import Terms
from serving_network.store.database import Database
from serving_network.store.intake import Intake
from serving_network.store.opening import Identity, JournalFailure, connected
from serving_network.store.spool import Spool, SpoolFull
from serving_network.store.writing import each
from tests.settlement.test_served import IDENTITY, SIGNER, USERS, delivered, terms

NOW = 1_000


def large(number: int) -> Terms:
    """A request whose row needs new pages."""
    return replace(terms(number), model="m" * 20_000)


class Disk:
    """Whether the store may take pages: on its open connection, and on those that it opens after a failure."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        monkeypatch.setattr("serving_network.store.writing.connected", self._connected)

    async def fill(self, intake: Intake) -> None:
        self.full = True
        await intake._writer.submit(each, self._limit)

    async def free(self, intake: Intake) -> None:
        self.full = False
        await intake._writer.submit(each, self._limit)

    def _limit(self, db: Database) -> None:
        db.execute(f"PRAGMA max_page_count = {1 if self.full else 1_000_000}").fetchall()

    @contextmanager
    def _connected(self, path: Path, identity: Identity) -> Iterator[Database]:
        with connected(path, identity) as db:
            self._limit(db)
            yield db


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def check(intake: Intake, requests: int) -> None:
    """Every request was stored once, with receipts without gaps."""
    receipts = intake.receipts(USERS[0], 0, 500)
    assert [one.receipt.sequence for one in receipts] == list(range(1, requests + 1))
    assert len({one.receipt.id for one in receipts}) == requests
    for one in receipts:
        one.check(SIGNER.address)
    assert intake.unsettled(USERS[0]) == 10 * requests


def test_rows_are_stored_when_there_is_space_again(disk: Disk, tmp_path: Path) -> None:
    async def scenario() -> None:
        intake = Intake(tmp_path / "j", IDENTITY, SIGNER)
        intake.open()
        try:
            await intake.set_balance(USERS[0], 10**9, 0, 7)
            assert intake.funds(USERS[0]) is not None
            assert await intake.finish(terms(1), delivered(10), Ending.COMPLETE, NOW) is not None
            await disk.fill(intake)
            for number in (2, 3):
                assert await intake.finish(large(number), delivered(10), Ending.CUT_BY_CLIENT, NOW) is None
            for _ in range(3):
                with pytest.raises(JournalFailure, match="does not take rows"):
                    intake.funds(USERS[0])
                await asyncio.sleep(0.05)
            await disk.free(intake)
            async with asyncio.timeout(10):
                while True:
                    try:
                        found = intake.funds(USERS[0])
                        break
                    except JournalFailure:
                        await asyncio.sleep(0.01)
            assert found is not None
            assert found.unsettled == 30
            check(intake, 3)
            last = intake.receipt(terms(3).id)
            assert last is not None
            assert last.receipt.ending is Ending.CUT_BY_CLIENT
        finally:
            intake.close()

    asyncio.run(scenario())


def test_rows_are_stored_at_the_next_start(disk: Disk, tmp_path: Path) -> None:
    async def scenario() -> None:
        intake = Intake(tmp_path / "j", IDENTITY, SIGNER)
        intake.open()
        await intake.begin(large(1), NOW)  # a stream, which has a row that it began
        await disk.fill(intake)
        for number in (1, 2):
            assert await intake.finish(large(number), delivered(10), Ending.COMPLETE, NOW) is None
        intake.close()
        disk.full = False
        spool = (tmp_path / "j.spool").read_bytes()
        intake = Intake(tmp_path / "j", IDENTITY, SIGNER)
        assert intake.open() == 2
        check(intake, 2)
        intake.close()
        (tmp_path / "j.spool").write_bytes(spool)  # as after a crash before the spool was cleared
        intake = Intake(tmp_path / "j", IDENTITY, SIGNER)
        assert intake.open() == 0
        check(intake, 2)
        intake.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", [b"{", b"[" * 9_000 + b"{", b"[]", b"{}", b"\xff\r"])
def test_a_damaged_row_is_named_and_no_other_is_lost(disk: Disk, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "j.spool"

    async def scenario() -> None:
        intake = Intake(tmp_path / "j", IDENTITY, SIGNER)
        intake.open()
        await disk.fill(intake)
        for number in (1, 2, 3):
            assert await intake.finish(large(number), delivered(10), Ending.COMPLETE, NOW) is None
        intake.close()
        disk.full = False
        rows = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([rows[0], damage, *rows[2:]]))
        spool = path.read_bytes()
        with pytest.raises(JournalFailure, match=r"Row 2 of .*j\.spool is damaged") as caught:
            Intake(tmp_path / "j", IDENTITY, SIGNER).open()
        assert path.read_bytes().rstrip(b"\0") == spool.rstrip(b"\0")
        assert caught.value.next_step is not None
        _, command = caught.value.next_step.split(": ")
        subprocess.run(shlex.split(command), check=True)
        intake = Intake(tmp_path / "j", IDENTITY, SIGNER)
        assert intake.open() == 2
        check(intake, 2)
        intake.close()

    asyncio.run(scenario())


def test_a_spool_that_is_full_fails_the_request(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving_network.store.spool.SIZE", 10)

    async def scenario() -> None:
        intake = Intake(tmp_path / "j", IDENTITY, SIGNER)
        intake.open()
        try:
            await disk.fill(intake)
            with pytest.raises(JournalFailure, match="could not be stored"):
                await intake.finish(large(1), delivered(10), Ending.COMPLETE, NOW)
        finally:
            intake.close()

    asyncio.run(scenario())


def test_a_row_that_a_crash_cut_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    with closing(Spool(path, 100)) as spool:
        spool.append({"a": 1})
        end = spool.end
    with path.open("r+b") as file:
        file.seek(end)
        file.write(b'{"a": ')
    with closing(Spool(path, 100)) as spool:
        assert spool.rows() == ([{"a": 1}], end)
        spool.append({"b": 2})
        spool.clear(end)
        assert spool.rows()[0] == [{"a": 1}, {"b": 2}]
        with pytest.raises(SpoolFull):
            spool.append({"c": "x" * 100})
        spool.clear(spool.end)
    assert path.read_bytes() == bytes(100)
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_fill_a_spool_to_its_last_byte(tmp_path: Path) -> None:
    row = {"n": 1}
    size = len(b'{"n": 1}\n')
    with closing(Spool(tmp_path / "spool", 2 * size)) as spool:
        spool.append(row)
        spool.append(row)
        assert spool.rows() == ([row, row], 2 * size)
        with pytest.raises(SpoolFull):
            spool.append(row)


def test_what_a_spool_writes_is_on_the_disk_before_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("fsync", "fdatasync", "close"):
        monkeypatch.setattr(os, name, recorded(done, name, getattr(os, name)))
    spool = Spool(tmp_path / "spool")
    assert done == ["fsync"]
    spool.append({"n": 1})
    assert done == ["fsync", "fdatasync"]
    spool.clear(spool.end)
    spool.close()
    assert done == ["fsync", "fdatasync", "fdatasync", "close"]


def test_a_spool_without_space_is_an_error_and_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    done: list[str] = []
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(os, "close", recorded(done, "close", os.close))
    with pytest.raises(OSError, match="No space left"):
        Spool(tmp_path / "spool")
    assert done == ["close"]


def recorded(done: list[str], name: str, call: Callable[[int], None]) -> Callable[[int], None]:
    """`call`, which notes its name each time."""

    def noted(file: int) -> None:
        done.append(name)
        call(file)

    return noted
