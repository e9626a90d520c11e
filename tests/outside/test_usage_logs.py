# SPDX-License-Identifier: Apache-2.0
"""Malformed usage logs: every line is a row or a reject, without delay and without ambiguity."""

from __future__ import annotations

import gzip
import json
import sqlite3
import time
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.cli.settle import _check_apart
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.messages.usage import Reject, UsageRow
from serving_network.settlement.journal import open_journal
from serving_network.store.opening import Identity, JournalFailure, copy_journal
from serving_network.usage_logs.columns import Columns, load_columns, load_users
from serving_network.usage_logs.reader import UsageLog
from tests.outside.clear import done_or_clear

USER = "0x" + "a1" * 20
HEADER = b"request_id,user,time,input_tokens,output_tokens\n"
GOOD = {"request_id": "r", "user": USER, "time": 1_795_341_600, "input_tokens": 1, "output_tokens": 2}
ONE_MEGABYTE = 1 << 20


def line(number: int = 0) -> bytes:
    return json.dumps(GOOD | {"request_id": f"r-{number}"}).encode() + b"\n"


def read(path: Path, content: bytes, columns: Columns | None = None) -> tuple[list[UsageRow], list[Reject]]:
    path.write_bytes(content)
    rejects: list[Reject] = []
    return list(UsageLog(path, columns).rows(rejects.append)), rejects


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(b'{"request_id": "a\0b"}\n', "broken JSON", id="a NUL byte in a text"),
        pytest.param(b"\0" * 5000 + b"\n", "broken JSON", id="NUL bytes of a disk that lost power"),
        pytest.param(b'{"input_tokens": Infinity}\n', "Infinity is not a number", id="infinity"),
        pytest.param(b'{"input_tokens": -Infinity}\n', "-Infinity is not a number", id="less than nothing"),
        pytest.param(line()[:-2] + b', "input_tokens": 9}\n', "duplicate field", id="a field twice"),
        pytest.param(b'{"usage": {"a": 1, "a": 2}}\n', "duplicate field", id="a field twice inside"),
        pytest.param(line().replace(b": 1,", b": 1e400,"), "fractional input tokens", id="a float beyond floats"),
        pytest.param(b"\xef\xbb\xbf" + line(), "broken JSON", id="a byte order mark in the middle"),
        pytest.param(line()[:40] + b"\r" + line()[40:], "broken JSON", id="a bare carriage return"),
        pytest.param(b'{"a":' * 90_000 + b"1\n", "nested more than 100 levels deep", id="deeper than any parser"),
    ],
)
def test_one_bad_line_costs_only_itself(tmp_path: Path, bad: bytes, reason: str) -> None:
    rows, rejects = read(tmp_path / "log.jsonl", line(1) + bad + line(2))
    assert [row.line for row in rows] == [1, 3]
    assert [(one.line, reason in one.reason) for one in rejects] == [(2, True)], rejects


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_byte_order_mark_and_crlf_change_nothing(tmp_path: Path, suffix: str) -> None:
    plain = line(1) + line(2) if suffix == "jsonl" else HEADER + f"r-1,{USER},5,1,2\nr-2,{USER},5,1,2\n".encode()
    other = b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")
    expected, none = read(tmp_path / f"a.{suffix}", plain)
    assert (len(expected), none) == (2, [])
    assert read(tmp_path / f"b.{suffix}", other) == (expected, [])
    by_row = Columns({"id": "@row"})
    assert [row.request_hash for row in read(tmp_path / f"b.{suffix}", plain.replace(b"\n", b"\r\n"), by_row)[0]] == [
        row.request_hash for row in read(tmp_path / f"a.{suffix}", plain, by_row)[0]
    ]


@pytest.mark.parametrize(
    "filler",
    [b'\\"', b"[", b"{}", b'"', b"\\", b'"\\'],
    ids=["escaped quotes", "brackets", "pairs", "quotes", "backslashes", "both"],
)
def test_no_line_takes_longer_than_its_length(tmp_path: Path, filler: bytes) -> None:
    began = time.process_time()
    bad = (b"[" + b"{}" * 101 + b'"' + filler * ONE_MEGABYTE)[: ONE_MEGABYTE - 1]
    rows, rejects = read(tmp_path / "log.jsonl", bad + b"\n" + line())
    assert (len(rows), len(rejects)) == (1, 1)
    assert time.process_time() - began < 2


@settings(max_examples=150)
@given(content=st.binary(max_size=300), cut=st.integers(0, 400), flip=st.integers(0, 400), packed=st.booleans())
def test_a_damaged_log_loses_no_row_silently(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int, flip: int, packed: bool
) -> None:
    whole = b"".join(line(number) for number in range(4)) + content
    data = bytearray(gzip.compress(whole, mtime=0) if packed else whole)[: max(cut, 2)]
    if packed and flip < len(data):
        data[flip] ^= 0x55
    found = done_or_clear(lambda: read(tmp_path_factory.mktemp("log") / "log.jsonl", bytes(data)))
    if found is None:
        return
    rows, rejects = found
    numbers = sorted([row.line for row in rows] + [one.line for one in rejects])
    assert len(set(numbers)) == len(numbers)
    if not packed:
        blank = [place for place, one in enumerate(bytes(data).split(b"\n"), 1) if not one.strip()]
        assert sorted(numbers + blank) == list(range(1, bytes(data).count(b"\n") + 2))
    good = {sha256(f"r-{number}".encode()).digest() for number in range(4)}
    assert all((row.input_tokens, row.output_tokens) == (1, 2) for row in rows if row.request_hash in good)


def test_a_decompression_bomb_is_one_reject_and_uses_little_memory(tmp_path: Path) -> None:
    packed = gzip.compress(b"0" * (64 << 20) + b"\n" + line(), mtime=0)
    rows, rejects = read(tmp_path / "log.jsonl.gz", packed)
    assert len(packed) < 100_000
    assert ([row.line for row in rows], [one.line for one in rejects]) == ([2], [1])
    assert len(rejects[0].text) == 500


BAD_TABLES = [
    b"\xff\xfe\x00",
    b"a = [" * 20_000,
    b"a = " + b"[" * 20_000 + b"]" * 20_000,
    b"[columns]\nuser = inf",
    b"[columns]\nuser = 1979-05-27",
    b"[columns.user]\nname = 'x'",
    b"[columns]\nuser = 'a'\nuser = 'b'",
    b"columns = []",
    b"",
]


@pytest.mark.parametrize("content", BAD_TABLES)
def test_a_mapping_that_cannot_be_read_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "columns.toml").write_bytes(content)
    with pytest.raises(ConfigurationError) as failure:
        load_columns(tmp_path / "columns.toml")
    assert failure.value.next_step


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": "0x1", "a": "0x2"}',
        b'{"a": NaN}',
        b"[" * 200_000,
        b"\xff",
        b"",
        b"null",
        b'{"a": {}}',
        b'{"a": 1' + b"0" * 9999,
    ],
)
def test_a_list_of_users_that_cannot_be_read_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "users.json").write_bytes(content)
    with pytest.raises(ConfigurationError) as failure:
        load_users(tmp_path / "users.json")
    assert failure.value.next_step


def test_a_byte_order_mark_before_a_table_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_bytes(b"\xef\xbb\xbf" + b'{"acme": "0x1"}')
    (tmp_path / "columns.toml").write_bytes(b"\xef\xbb\xbf" + b"[columns]\nuser = 'customer'\n")
    assert load_users(tmp_path / "users.json") == {"acme": "0x1"}
    assert load_columns(tmp_path / "columns.toml").named == {"user": "customer"}


def test_rejects_never_overwrite_what_the_run_reads(tmp_path: Path) -> None:
    usage = tmp_path / "usage.jsonl"
    with pytest.raises(InvalidInput) as failure:
        _check_apart(tmp_path / "." / "usage.jsonl", None, usage)
    assert failure.value.next_step
    _check_apart(tmp_path / "rejects.jsonl", usage)


IDENTITY = Identity(1, "0x" + "0" * 64, "0x" + "c" * 40, "0x" + "d" * 40)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM meta WHERE key = 'pass'",
        "UPDATE meta SET value = 'often' WHERE key = 'pass'",
        "INSERT INTO user VALUES (NULL, '0x1', 0, 0, 0, 'much', '0', 0, '0', '0')",
        "DROP TABLE user",
        "DROP TABLE meta",
    ],
)
def test_an_edited_journal_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "j"
    with open_journal(path, IDENTITY):
        pass
    with sqlite3.connect(path) as database:
        database.execute(damage)
    database.close()
    with pytest.raises(JournalFailure) as failure, open_journal(path, IDENTITY):
        pass
    assert failure.value.next_step


def test_a_journal_that_cannot_be_created_or_copied_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no database" * 100)
    with pytest.raises(JournalFailure) as failure, open_journal(tmp_path / "file" / "journal", IDENTITY):
        pass
    assert failure.value.next_step
    with pytest.raises(JournalFailure) as failure:
        copy_journal(tmp_path / "file", tmp_path / "copy")
    assert failure.value.next_step
