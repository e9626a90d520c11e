# SPDX-License-Identifier: Apache-2.0
"""Recording the rows of a source that a test writes: what is kept of its rejects, and what is said about it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
from eth_utils.address import to_checksum_address

from serving_network.messages.prices import Prices
from serving_network.messages.usage import Reading, Reject, UsageRow
from serving_network.settlement import recording
from serving_network.settlement.journal import Journal, open_journal
from serving_network.settlement.report import Report
from serving_network.store.opening import Identity
from tests.settlement.fake_chain import CONTRACT, PROVIDER

USER = to_checksum_address("0x" + "01" * 20)
REWRITTEN = "it was rewritten"
OFTEN = 700


@dataclass
class Source:
    """Rows with these ids, after so many rejects. `change` is why it cannot be continued."""

    ids: list[str]
    rejects: int = 0
    change: str | None = REWRITTEN
    ids_are_places: bool = True
    left_out: int = 0
    name: str = "usage.jsonl"
    fails: bool = False
    thresholds: list[tuple[int, int, int]] = field(default_factory=list)

    def rows(self, reject: Callable[[Reject], None]) -> Iterator[UsageRow]:
        self.thresholds.append(gc.get_threshold())
        for number in range(self.rejects):
            reject(Reject(number + 1, "broken", ""))
        for number, one in enumerate(self.ids):
            yield UsageRow(number, sha256(one.encode()).digest(), one, USER, USER, 1, 0, 0, (0, 1))
        if self.fails:
            raise OSError("gone")

    def size(self) -> int:
        return len(self.ids)

    def position(self) -> int:
        return len(self.ids)

    def resume(self, _: Reading) -> str | None:
        return self.change

    def reading(self) -> Reading:
        return Reading(self.name, "file", 9, 100, b"", b"", ())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with open_journal(tmp_path / "journal", Identity(31337, "0x", CONTRACT, PROVIDER)) as opened:
        yield opened


def record(source: Source, journal: Journal) -> Report:
    report = Report(1, "", "")
    asyncio.run(
        recording.record(source, journal, Prices(1, 1), report, reject=lambda _: None, progress=lambda *_: None)
    )
    return report


@pytest.mark.parametrize(
    ("source", "notes"),
    [
        (Source(["b"]), 2),
        (Source(["b"], ids_are_places=False), 1),
        (Source(["a", "b"]), 1),
        (Source([]), 1),
        (Source(["b"], change=None), 0),
    ],
    ids=["moved or rewritten", "ids of their own", "a known row", "nothing new", "continued"],
)
def test_rows_that_may_be_charged_again_are_reported(journal: Journal, source: Source, notes: int) -> None:
    assert record(Source(["a"]), journal).notes == []
    found = record(source, journal).notes
    assert found[:1] == [f"The log was read from its first line, because {REWRITTEN}."][:notes]
    assert [("serving settlement void" in note) for note in found[1:]] == [True] * (notes - 1)


def test_rows_that_are_not_to_be_settled_are_counted(journal: Journal) -> None:
    assert record(Source(["a"], left_out=3), journal).left_out == 3


@pytest.mark.parametrize(("before", "during"), [(OFTEN, 1_000_000), (2_000_000, 2_000_000)])
@pytest.mark.parametrize("fails", [False, True])
def test_cycles_are_looked_for_less_often_only_while_rows_are_read(
    journal: Journal, before: int, during: int, fails: bool
) -> None:
    usual = gc.get_threshold()
    source = Source(["a"], fails=fails)
    try:
        gc.set_threshold(before, 11, 12)
        if fails:
            with pytest.raises(OSError, match="gone"):
                record(source, journal)
        else:
            record(source, journal)
        assert gc.get_threshold() == (before, 11, 12)
    finally:
        gc.set_threshold(*usual)
    assert source.thresholds == [(during, 11, 12)]


def test_no_more_rejects_are_kept_than_are_needed(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(recording, "MAX_KEPT_REJECTS", 2)
    monkeypatch.setattr(recording, "CHUNK_ROWS", 2)
    monkeypatch.setattr(journal, "end_reading_at", lambda reading: kept.append(len(reading.rejects)))
    assert record(Source([], rejects=9), journal).rejected == 9
    assert kept == [4], "one chunk more than the limit says that there were too many"


def test_others_get_a_turn_after_each_chunk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(recording, "CHUNK_ROWS", 2)
    monkeypatch.setattr(recording, "asyncio", SimpleNamespace(sleep=sleep))
    record(Source(["a", "b", "c", "d", "e"]), journal)
    assert slept == [0, 0]
