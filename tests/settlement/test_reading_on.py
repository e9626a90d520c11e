# SPDX-License-Identifier: Apache-2.0
"""Ids that come back, streams, other units, and logs that grow: what a run records, and from where it reads."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from serving_network.messages.prices import Prices, hash_requests
from serving_network.messages.usage import Reject
from serving_network.settlement import recording
from serving_network.settlement.journal import open_journal
from serving_network.settlement.journal.readings import MAX_KEPT_REJECTS, Readings
from serving_network.settlement.recording import record
from serving_network.settlement.report import Report, no_progress
from serving_network.store.opening import Identity
from serving_network.usage_logs.columns import Columns
from serving_network.usage_logs.reader import UsageLog

SAMPLES = Path(__file__).parent / "usage_logs"
USER = to_checksum_address("0x" + "a1" * 20)
IDENTITY = Identity(31337, "0x", "0x" + "c3" * 20, "0x" + "b2" * 20)
PRICES = Prices(100, 1000, 4)


class Ledger:
    """A journal, and runs that read logs into it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "usage.jsonl"
        self.rejects: list[Reject] = []
        self.size_read = 0

    def append(self, *numbers: int, end: str = "\n", **changes: Any) -> None:
        with self.log.open("a") as file:
            for number in numbers:
                made = {"id": f"r-{number}", "user": USER, "time": number, "input_tokens": number, "output_tokens": 1}
                file.write(json.dumps(made | changes) + end)

    def read(self, path: Path | None = None, columns: Columns | None = None, **options: Any) -> Report:
        report = Report(31337, "", "")
        self.rejects = []
        with open_journal(self.directory / "journal", IDENTITY) as journal:
            log = UsageLog(path or self.log, columns, **options)
            asyncio.run(record(log, journal, PRICES, report, reject=self.rejects.append, progress=no_progress))
        return report

    def counts(self, *given: Any, **options: Any) -> tuple[int, int, int]:
        report = self.read(*given, **options)
        return report.new_requests, report.known_requests, report.rejected

    def owed(self) -> int:
        with open_journal(self.directory / "journal", IDENTITY) as journal:
            owed = sum(user.owed for user in journal.users())
            for user in journal.users():
                assert hash_requests(journal.charges(user))[1] == user.open
        return owed


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


# ---------------------------------------------------------------------------------------------------------- ids


def test_an_id_of_another_time_is_a_conflict_with_a_way_out(ledger: Ledger) -> None:
    days = [SAMPLES / f"idreuse_day{number}.jsonl" for number in (1, 2)]
    assert ledger.counts(days[0]) == (1, 0, 0)
    assert ledger.counts(days[1]) == (1, 0, 1)
    assert ledger.rejects[0].line == 1
    assert "recorded with another time. If it is another request, add --id-with-time" in ledger.rejects[0].reason
    timed = Columns(id_with_time=True)
    assert ledger.counts(days[1], timed) == (1, 1, 0)
    assert ledger.counts(days[1], timed, reread=True) == (0, 2, 0)
    assert ledger.counts(days[0], timed) == (0, 1, 0)


def test_ids_of_one_log_that_come_back_at_other_times(ledger: Ledger) -> None:
    ledger.append(5)
    ledger.append(5, time=6)
    ledger.append(5, time=7)
    ledger.append(5, time=6)
    assert ledger.counts() == (1, 0, 3)
    assert ledger.counts(columns=Columns(id_with_time=True)) == (2, 1, 1)
    assert [one.line for one in ledger.rejects] == [4]


def test_growing_usage_under_one_id_is_named_and_nothing_of_it_recorded(ledger: Ledger) -> None:
    stream = SAMPLES / "stream_usage.jsonl"
    assert ledger.counts(stream) == (0, 0, 3)
    assert all("its usage grows" in one.reason and "--last-of-stream" in one.reason for one in ledger.rejects)
    assert ledger.counts(stream, Columns(last_of_stream=True)) == (1, 0, 0)
    assert ledger.owed() == 50 * 100 + 400 * 1000
    assert ledger.counts(stream, reread=True) == (0, 1, 2)


def test_a_log_without_ids_warns_when_all_its_rows_moved(ledger: Ledger) -> None:
    by_row = Columns({"id": "@row"})
    ledger.append(1, 2)
    assert ledger.read(columns=by_row).notes == []
    assert ledger.read(columns=by_row, reread=True).notes == []
    ledger.log.write_text("\n" + ledger.log.read_text())
    notes = ledger.read(columns=by_row).notes
    assert any("was read before, but all its rows are new" in note for note in notes), notes
    ledger.append(3)
    assert ledger.read(columns=by_row).notes == []


def test_only_ids_that_are_places_warn_when_all_rows_are_new(ledger: Ledger) -> None:
    by_row = Columns({"id": "@row"})
    ledger.append(1, 2)
    assert ledger.counts(columns=by_row) == (2, 0, 0)
    whole = ledger.log.read_text()
    ledger.log.write_text("\n")
    (note,) = ledger.read(columns=by_row).notes
    assert "all its rows are new" not in note  # there is none
    ledger.log.write_text(whole + json.dumps({"id": "r", "user": USER, "time": 1}) + "\n" + whole)
    (note,) = ledger.read(columns=by_row).notes
    assert "all its rows are new" not in note  # two are known
    other = ledger.directory / "other.jsonl"
    for name in "a", "b":
        other.write_text(json.dumps({"id": name, "user": USER, "time": 1, "input_tokens": 1, "output_tokens": 1}))
        notes = ledger.read(other).notes
        assert not any("all its rows are new" in note for note in notes)


# ------------------------------------------------------------------------------------------------------- prices


def test_other_units_are_priced_and_stored(ledger: Ledger) -> None:
    columns = Columns({"images": "n", "seconds": "s"})
    ledger.append(1001, cached_tokens=801)
    ledger.append(1, n=3)
    ledger.append(2, s=60)
    ledger.append(3)
    expected = [
        200 * 100 + 801 * 100 // 4 + 1000,
        100 + 1000 + 3 * 1000,
        2 * 100 + 60 * 100 + 1000,
        3 * 100 + 1000,
    ]
    assert ledger.counts(columns=columns) == (4, 0, 0)
    with open_journal(ledger.directory / "journal", IDENTITY) as journal:
        (user,) = journal.users()
        assert [one.input_fee + one.output_fee for one in journal.charges(user)] == expected
        assert journal.open_units() == {"cached_tokens": 801, "images": 3, "seconds": 60}
        assert user.owed == sum(expected)
    assert ledger.counts(columns=columns, reread=True) == (0, 4, 0)
    ledger.log.write_text(ledger.log.read_text().replace("801", "800"))
    assert ledger.counts(columns=columns) == (0, 3, 1)
    assert ledger.owed() == sum(expected)


def test_fees_and_units_are_stored_only_where_the_prices_do_not_give_them(ledger: Ledger) -> None:
    ledger.append(1, 2)
    ledger.append(3, fee=7)
    ledger.append(4, cached_tokens=2)
    assert ledger.counts() == (4, 0, 0)
    with closing(sqlite3.connect(ledger.directory / "journal")) as connection:
        fees = connection.execute("SELECT number, input_fee, output_fee FROM own_fee ORDER BY number").fetchall()
        units = connection.execute("SELECT number, kind, tokens FROM other_tokens").fetchall()
    assert fees == [(2, "0", "7"), (3, str(2 * 100 + 2 * 100 // 4), "1000")]
    assert units == [(3, "cached_tokens", 2)]


# -------------------------------------------------------------------------------------------------- reading on


def test_a_growing_log_is_read_on_from_where_the_last_run_ended(ledger: Ledger) -> None:
    ledger.append(*range(100))
    assert ledger.counts() == (100, 0, 0)
    ledger.append(100, 101)
    report = ledger.read()
    assert (report.new_requests, report.known_requests, report.continued_at) == (2, 0, 101)
    report = ledger.read()
    assert (report.new_requests, report.known_requests, report.continued_at) == (0, 0, 103)
    assert ledger.counts(reread=True) == (0, 102, 0)


def test_a_csv_is_read_on_with_its_header(ledger: Ledger) -> None:
    path = ledger.directory / "u.csv"
    header = "sep=;\noutput_tokens;id;user;time;input_tokens;text\n"
    path.write_text(header + f'1;a;{USER};1;7;"two\nlines"\n')
    assert ledger.counts(path) == (1, 0, 0)
    with path.open("a") as file:
        file.write(f"1;b;{USER};1;8;x\nbroken\n1;c;{USER};1;9;")
    report = ledger.read(path)
    assert (report.new_requests, report.rejected, report.continued_at) == (1, 2, 5)
    assert [(one.line, one.reason[:10]) for one in ledger.rejects] == [(6, "1 columns "), (7, "incomplete")]
    with path.open("a") as file:
        file.write("x\n")
    report = ledger.read(path)
    assert (report.new_requests, report.known_requests, report.rejected, report.continued_at) == (1, 0, 1, 7)
    assert ledger.owed() == (7 + 8 + 9) * 100 + 3 * 1000


def test_open_rejects_are_repeated(ledger: Ledger) -> None:
    ledger.append(1)
    ledger.append(2, input_tokens=-1)
    ledger.append(1, input_tokens=9)
    assert ledger.counts() == (1, 0, 2)
    first = list(ledger.rejects)
    ledger.append(3)
    assert ledger.counts() == (1, 0, 2)
    assert ledger.rejects == first
    ledger.log.write_text(ledger.log.read_text().replace('"input_tokens": -1', '"input_tokens": 77'))
    assert ledger.counts() == (1, 2, 1)


@pytest.mark.parametrize("chunk", [1, 40_000])
def test_with_too_many_open_rejects_the_log_is_read_whole(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(recording, "CHUNK_ROWS", chunk)
    ledger.append(*range(MAX_KEPT_REJECTS + 1), input_tokens=-1)
    ledger.append(1000)
    assert ledger.counts() == (1, 0, MAX_KEPT_REJECTS + 1)
    assert ledger.counts() == (0, 1, MAX_KEPT_REJECTS + 1)


def test_with_as_many_open_rejects_as_are_kept_the_log_is_read_on(ledger: Ledger) -> None:
    ledger.append(*range(MAX_KEPT_REJECTS), input_tokens=-1)
    assert ledger.counts() == (0, 0, MAX_KEPT_REJECTS)
    report = ledger.read()
    assert (report.rejected, report.continued_at) == (MAX_KEPT_REJECTS, MAX_KEPT_REJECTS + 1)
    ledger.append(1, input_tokens=-1)
    for _ in range(2):
        report = ledger.read()
        assert report.rejected == MAX_KEPT_REJECTS + 1
    assert (report.continued_at, report.notes) == (None, [])


def test_an_incomplete_last_line_is_read_again(ledger: Ledger) -> None:
    ledger.append(1)
    ledger.append(2, end="")
    assert ledger.counts() == (2, 0, 0)
    with ledger.log.open("a") as file:
        file.write("\n")
    ledger.append(3, end="")
    with ledger.log.open("r+") as file:
        file.truncate(ledger.log.stat().st_size - 5)
    report = ledger.read()
    assert (report.new_requests, report.known_requests, report.rejected, report.continued_at) == (0, 1, 1, 2)
    assert ledger.rejects[0].line == 3


def test_a_log_that_was_rotated_truncated_or_changed_is_read_whole(ledger: Ledger) -> None:
    ledger.append(*range(10))
    ledger.read()
    text = ledger.log.read_text()
    ledger.log.rename(ledger.directory / "usage.jsonl.1")
    ledger.append(20)
    report = ledger.read()
    assert (report.new_requests, report.continued_at) == (1, None)
    assert "another file is at" in report.notes[0]
    ledger.append(21)
    ledger.read()
    ledger.log.write_text(text[: text.index("\n") + 1])
    report = ledger.read()
    assert (report.known_requests, report.continued_at) == (1, None)
    assert "the file was truncated" in report.notes[0]
    ledger.log.write_text(text)
    ledger.read()
    ledger.log.write_text(text[:-3] + "7}\n" + text)
    report = ledger.read()
    assert "lines that were read before changed" in report.notes[0]
    assert report.continued_at is None


def test_a_log_that_is_read_in_another_way_is_read_whole(ledger: Ledger) -> None:
    ledger.append(1)
    ledger.append(2, user="acme")
    assert ledger.counts() == (1, 0, 1)
    users = {"acme": USER, USER: USER}
    report = ledger.read(users=users)
    assert (report.new_requests, report.known_requests, report.rejected) == (1, 1, 0)
    assert "the options for reading it changed" in report.notes[0]
    assert ledger.read(users=users).continued_at == 3


@pytest.mark.parametrize("kind", ["gzip", "document"])
def test_a_log_that_cannot_be_continued_is_read_whole_each_time(ledger: Ledger, kind: str) -> None:
    ledger.append(1, 2)
    lines = ledger.log.read_text().splitlines()
    path = ledger.directory / ("u.jsonl.gz" if kind == "gzip" else "u.json")
    path.write_bytes(gzip.compress(ledger.log.read_bytes()) if kind == "gzip" else f"[{','.join(lines)}]".encode())
    assert ledger.counts(path) == (2, 0, 0)
    report = ledger.read(path)
    assert (report.known_requests, report.continued_at, report.notes) == (2, None, [])


def test_after_an_unclosed_quote_the_log_is_read_again_from_its_first_line(ledger: Ledger) -> None:
    path = ledger.directory / "u.csv"
    whole = f'id,user,time,input_tokens,output_tokens,text\na,{USER},1,7,1,x\nb,{USER},1,8,1,"open\n'
    path.write_text(whole)
    assert ledger.counts(path) == (1, 0, 1)
    path.write_text(whole.replace('"open', '"closed"') + f"c,{USER},1,9,1,x\n")
    assert ledger.counts(path) == (2, 1, 0)


class Killed(BaseException):
    """The process ends."""


@pytest.mark.parametrize("moment", ["before the rows are durable", "between the rows and the position"])
def test_a_run_that_is_killed_neither_loses_nor_doubles_a_row(
    ledger: Ledger, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.append(1, 2)
    ledger.read()
    ledger.append(3, 4)
    ledger.append(5, input_tokens=-1)
    end = Readings.end_reading

    def dies(journal: Readings) -> None:
        if moment == "between the rows and the position":
            end(journal)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Readings, "end_reading", dies)
        with pytest.raises(Killed):
            ledger.read()
    durable = moment == "between the rows and the position"
    report = ledger.read()
    assert (report.new_requests, report.known_requests, report.rejected) == ((0, 2, 1) if durable else (2, 0, 1))
    assert report.continued_at == 3
    assert ledger.owed() == (1 + 2 + 3 + 4) * 100 + 4 * 1000
    assert ledger.counts(reread=True) == (0, 4, 1)


def test_only_what_is_new_is_read(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.append(*range(5000))
    ledger.read()
    ledger.append(5000)
    parsed = 0
    row = UsageLog._row

    def counted(log: UsageLog, *given: Any) -> Any:
        nonlocal parsed
        parsed += 1
        return row(log, *given)

    monkeypatch.setattr(UsageLog, "_row", counted)
    monkeypatch.setattr("serving_network.usage_logs.reader._first_shape", lambda *_: None)
    ledger.read()
    assert parsed == 1


# ------------------------------------------------------------------------------------------------ while it is read


def test_rows_that_are_left_out_are_reported(ledger: Ledger) -> None:
    ledger.append(1, 2, 3)
    report = ledger.read(columns=Columns(skip=("id=r-2", "id=r-3")))
    assert (report.new_requests, report.left_out) == (1, 2)


def test_others_get_their_turn_between_the_chunks(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK_ROWS", 2)
    ledger.append(*range(9))
    turns = 0

    async def reading() -> None:
        nonlocal turns
        with open_journal(ledger.directory / "journal", IDENTITY) as journal:
            run = asyncio.create_task(
                record(UsageLog(ledger.log), journal, PRICES, Report(1, "", ""), reject=print, progress=no_progress)
            )
            while not run.done():
                await asyncio.sleep(0)
                turns += 1

    asyncio.run(reading())
    assert 4 <= turns <= 10


def test_cycles_of_objects_are_looked_for_less_often_only_while_rows_are_read(ledger: Ledger) -> None:
    ledger.append(1)
    usual = gc.get_threshold()
    meanwhile = []

    class Watched(UsageLog):
        def rows(self, reject: Any) -> Any:
            meanwhile.append(gc.get_threshold())
            yield from super().rows(reject)

    try:
        for set_to, expected in ((700, 20, 30), (1_000_000, 20, 30)), ((2_000_000, 20, 30),) * 2:
            gc.set_threshold(*set_to)
            with open_journal(ledger.directory / "journal", IDENTITY) as journal:
                asyncio.run(
                    record(Watched(ledger.log), journal, PRICES, Report(1, "", ""), reject=print, progress=no_progress)
                )
            assert (meanwhile.pop(), gc.get_threshold()) == (expected, set_to)
    finally:
        gc.set_threshold(*usual)
