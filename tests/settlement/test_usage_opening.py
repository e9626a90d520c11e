# SPDX-License-Identifier: Apache-2.0
"""What a log is before its rows are read: lines or a document, packed or not, its encoding, and its header."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from serving_network.errors import InvalidInput
from serving_network.messages.usage import Reject, UsageRow
from serving_network.usage_logs.columns import Columns
from serving_network.usage_logs.reader import UnusableLog, UsageLog
from serving_network.usage_logs.records import MAX_LINE_BYTES
from serving_network.usage_logs.values import MAX_TOKENS

USER = to_checksum_address("0x" + "a1" * 20)
HEADER = "id,user,time,input_tokens,output_tokens"
ROW = {"id": "r", "user": USER, "time": 1, "input_tokens": 10, "output_tokens": 20}
LINE = json.dumps(ROW)
ARRAY = f"[\n{LINE},\n{LINE}\n]"
CSV = f"{HEADER}\nr,{USER},1,10,20\n"


def written(
    directory: Path, content: str | bytes, name: str, columns: Columns | None = None, **options: Any
) -> UsageLog:
    (directory / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return UsageLog(directory / name, columns, **options)


def read(directory: Path, *given: Any, **options: Any) -> tuple[list[UsageRow], list[Reject]]:
    rejects: list[Reject] = []
    return list(written(directory, *given, **options).rows(rejects.append)), rejects


@pytest.mark.parametrize(
    ("name", "content", "options", "rows", "rejects"),
    [
        ("u.json", ARRAY, {}, [2, 3], []),
        ("U.JSON", ARRAY, {}, [2, 3], []),
        ("u.json.gz", ARRAY, {}, [2, 3], []),
        ("u.json", "\ufeff \t\r\n" + ARRAY, {}, [3, 4], []),
        ("u.json", f"{LINE}\n{LINE}\n", {}, [1, 2], []),
        ("u.json", f"_{ARRAY}", {}, [3], [1, 2, 4]),
        ("u.jsonl", ARRAY, {}, [3], [1, 2, 4]),
        ("u.json", ARRAY, {"log_format": "jsonl"}, [3], [1, 2, 4]),
        ("u.log", ARRAY, {"log_format": "json"}, [2, 3], []),
        ("u.log", f'{{"data": {ARRAY}}}', {"log_format": "json", "columns": Columns(rows="data")}, [2, 3], []),
        ("u.jsonl", f'{{"data": {ARRAY}}}', {"columns": Columns(rows="data")}, [2, 3], []),
        ("u.csv", CSV, {"columns": Columns(rows="data")}, [2], []),
    ],
)  # fmt: skip
def test_lines_and_documents_are_told_apart(
    tmp_path: Path, name: str, content: str, options: dict[str, Any], rows: list[int], rejects: list[int]
) -> None:
    data = gzip.compress(content.encode()) if name.endswith(".gz") else content
    good, bad = read(tmp_path, data, name, **options)
    assert ([row.line for row in good], [reject.line for reject in bad]) == (rows, rejects)


PACKED = gzip.compress(LINE.encode() * 20, mtime=0)
BROKEN = {
    "cut off in its header": PACKED[:2],
    "cut off in a part of its header": PACKED[:3] + b"\xff" * 8,
    "of another method": b"\x1f\x8b\x01" + PACKED[3:],
    "with broken data": PACKED[:10] + b"\xff" * 20,
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("log_format", ["jsonl", "json", None])
def test_a_packed_log_that_is_broken_from_its_start_gives_one_reject(
    tmp_path: Path, log_format: Any, broken: bytes
) -> None:
    rows, (reject,) = read(tmp_path, broken, "u.json.gz", log_format=log_format)
    assert rows == []
    assert "the compressed log is cut off: " in reject.reason


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("{}".encode("utf-16-le"), "UTF-16LE"),
        (LINE.encode("utf-16-le"), "UTF-16LE"),
        ("{}".encode("utf-16-be"), "UTF-16BE"),
        (LINE.encode("utf-16-be"), "UTF-16BE"),
        (LINE.encode("utf-16"), "UTF-16"),
        ("\ufeff\0\0".encode("utf-16-le"), "UTF-16"),
        ("\ufeff\0\0".encode("utf-16-be"), "UTF-16"),
    ],
)
def test_utf_16_is_recognised_with_and_without_a_byte_order_mark(tmp_path: Path, content: bytes, encoding: str) -> None:
    with pytest.raises(UnusableLog, match="is encoded in UTF-16") as caught:
        read(tmp_path, content, "u.jsonl")
    assert str(caught.value.next_step).startswith(f"iconv -f {encoding} -t UTF-8 ")


@pytest.mark.parametrize("content", [b"\0\0\0\0", b"{\0}\1", b"\0{\1}", b"{\0", b"\0{"])
def test_a_log_with_zero_bytes_is_not_taken_for_utf_16(tmp_path: Path, content: bytes) -> None:
    rows, rejects = read(tmp_path, content + b"\n" + LINE.encode(), "u.jsonl")
    assert ([row.line for row in rows], [reject.line for reject in rejects]) == ([2], [1])


@pytest.mark.parametrize(
    ("name", "content", "columns", "names"),
    [
        ("u.csv", "sep=;\r\n id ;user\r\n", Columns(), ["id", "user"]),
        ("u.jsonl", "\ufeff" + LINE, Columns(), list(ROW)),
        ("u.json", ARRAY, Columns(), list(ROW)),
        ("u.json", f'{{"data": {ARRAY}}}', Columns(rows="data"), list(ROW)),
        ("u.json", f'{{"data": {ARRAY}}}', Columns(rows="other"), []),
        ("u.jsonl", "", Columns(), []),
        ("u.jsonl", "broken\n", Columns(), []),
        ("u.jsonl", "[1]\n", Columns(), []),
    ],
)  # fmt: skip
def test_the_names_of_the_columns_are_those_of_the_header_or_the_first_row(
    tmp_path: Path, name: str, content: str, columns: Columns, names: list[str]
) -> None:
    assert written(tmp_path, content, name, columns).column_names() == names


def test_a_separator_is_tried_although_quotes_do_not_fit_another(tmp_path: Path) -> None:
    header = ";".join(f'"{name}"' for name in HEADER.split(","))
    (row,), rejects = read(tmp_path, f"{header}\nr;{USER};1;10;20\n", "u.csv")
    assert (row.input_tokens, rejects) == (10, [])


@pytest.mark.parametrize("first", ["", "sep=;\n", "SEP=;\r\n", "sep=\t\n"])
def test_the_separator_is_that_of_the_first_line_or_the_one_that_gives_most_columns(tmp_path: Path, first: str) -> None:
    separator = "\t" if "\t" in first else ";"
    text = first + f"{HEADER},x,y,z\nr,{USER},1,10,20,,,\n".replace(",", separator)
    (row,), rejects = read(tmp_path, text, "u.csv")
    assert (row.line, row.input_tokens, rejects) == (3 if first else 2, 10, [])


@pytest.mark.parametrize(
    ("header", "message", "cause"),
    [
        ("abcd,\nx\n", "no column for id: the header is abcd, .", None),  # not a separator line
        (f"sep=|\n{CSV.replace(',', '|')}", "no column for id: the header is sep=|.", None),
        ("\n", "is not CSV in UTF-8", "the first line is empty"),
        ('"id\n', "is not CSV in UTF-8", "unexpected end of data"),
        (CSV.replace("id", '"i"d', 1), "is not CSV in UTF-8", "expected after '\"'"),
        ("sep=;\n\udcff;id\n", "is not CSV in UTF-8", "is not text in UTF-8"),
        ("", "is empty", None),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_used_is_reported(tmp_path: Path, header: str, message: str, cause: str | None) -> None:
    with pytest.raises(UnusableLog) as caught:
        read(tmp_path, header.encode("utf-8", "surrogateescape"), "u.csv")
    assert message in str(caught.value)
    assert cause is None or cause in str(caught.value.cause)
    assert caught.value.next_step


def test_a_condition_on_a_missing_column_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UnusableLog, match="has no column kind: the header is id, user") as caught:
        read(tmp_path, CSV, "u.csv", Columns(skip=("kind=x",)))
    assert caught.value.cause == "--skip and --only name columns of the log."
    assert caught.value.next_step == "Name another column, or another --preset."


def test_a_mapped_column_must_exist_even_if_the_rows_have_fees(tmp_path: Path) -> None:
    with pytest.raises(UnusableLog, match="no column for cached_tokens"):
        read(tmp_path, CSV.replace("output_tokens", "fee"), "u.csv", Columns({"cached_tokens": "cached"}))


def test_a_missing_log_is_reported_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UnusableLog) as caught:
        list(UsageLog(tmp_path / "absent.csv").rows(lambda _: None))
    assert caught.value.cause == "No such file or directory."


@pytest.mark.parametrize(
    ("options", "next_step"),
    [
        ({"columns": Columns(user="nobody")}, "Give --user an address, or a name of --users."),
        ({"columns": Columns(start="soon")}, "Write --start as in 2026-11-28T00:00Z."),
        ({"columns": Columns(time_unit="s")}, "Add the time of its start: --start 2026-11-28T00:00Z"),
    ],
)
def test_options_that_fit_no_row_are_refused_before_the_log_is_read(options: dict[str, Any], next_step: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        UsageLog(Path("u.jsonl"), **options)
    assert caught.value.next_step == next_step


@pytest.mark.parametrize("limit", [1, MAX_TOKENS])
def test_a_token_limit_may_be_one_or_the_largest(tmp_path: Path, limit: int) -> None:
    row = json.dumps(ROW | {"input_tokens": limit, "output_tokens": 0})
    rows, rejects = read(tmp_path, row, "u.jsonl", max_row=limit)
    assert ([one.input_tokens for one in rows], rejects) == ([limit], [])


def test_a_line_of_csv_that_is_too_long_ends_the_reading_and_one_of_json_does_not(tmp_path: Path) -> None:
    """The line may end inside a quoted field, which JSON does not have."""
    long = "x" * (MAX_LINE_BYTES + (1 << 18)) + "\n"
    for name, first, later in ("u.csv", CSV, f"r,{USER},1,10,20\n"), ("u.jsonl", LINE + "\n", LINE + "\n"):
        rows, (reject,) = read(tmp_path, first + long + later, name)
        ends = "Nothing from this line on was read" in reject.reason
        assert (len(rows), ends) == ((1, True) if name == "u.csv" else (2, False))
