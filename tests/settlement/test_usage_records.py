# SPDX-License-Identifier: Apache-2.0
"""Splitting a log into records: quotes, separators and arrays never make one request out of another's text."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.messages.usage import Reject, UsageRow
from serving_network.usage_logs import records
from serving_network.usage_logs.columns import Columns
from serving_network.usage_logs.reader import UnusableLog, UsageLog
from serving_network.usage_logs.records import MAX_LINE_BYTES

SAMPLES = Path(__file__).parent / "usage_logs"
USER = to_checksum_address("0x" + "a1" * 20)
HEADER = "id,user,time,input_tokens,output_tokens,text"
CLOCK_TICK = 0.002  # process_time may stand still for so many seconds


def read(path: Path, columns: Columns | None = None, **options: Any) -> tuple[list[UsageRow], list[Reject]]:
    rejects: list[Reject] = []
    return list(UsageLog(path, columns, **options).rows(rejects.append)), rejects


def read_csv(directory: Path, *rows: str, end: str = "\n", **options: Any) -> tuple[list[UsageRow], list[Reject]]:
    path = directory / "u.csv"
    path.write_bytes(("\n".join([HEADER, *rows]) + end).encode())
    return read(path, **options)


def row(name: str, text: str = "") -> str:
    return f"{name},{USER},1,2,3,{text}"


def test_a_line_break_in_a_quoted_field_is_no_request() -> None:
    rows, rejects = read(SAMPLES / "csv_injection.csv")
    assert [(one.line, one.user[:6], one.input_tokens) for one in rows] == [
        (2, "0x3C44", 100),
        (3, "0x3C44", 100),
        (6, "0x90F7", 50),
    ]
    assert rejects == []


@pytest.mark.parametrize("cut", [1, 3, 7, 64])
def test_records_do_not_depend_on_the_read_size(tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row("a", '"x\ny"'), row("b"), row("c", '"\n""\n"'), row("d", '"1\n2\n3\n""4"""'), row("e")]
    whole = read_csv(tmp_path, *rows)
    assert [one.line for one in whole[0]] == [2, 4, 5, 8, 12]
    monkeypatch.setattr(records, "_BLOCK", cut)
    assert read_csv(tmp_path, *rows) == whole


@pytest.mark.parametrize(
    ("lines", "end", "reason"),
    [
        ([row("a", '"open'), row("b"), row("c")], "\n", "unclosed quote: the quote that opens in line 3"),
        ([row("a", '"open')], "", "incomplete last line: the log ends inside a quoted field"),
        ([row("a", '"open'), row("b", '"closed" there')], "\n", "broken CSV"),
        ([row("a", '"cut ') + row("b", '"x'), row("forged"), '"'], "\n", "broken CSV"),
        ([row("a", '"' + "x\n" * (MAX_LINE_BYTES // 2)), row("forged"), '"'], "\n", "is not closed within"),
        ([row("a", '"' + "x" * (MAX_LINE_BYTES + records._BLOCK)), row("forged"), '"'], "\n", "line too long"),
    ],
    ids=["never closed", "cut off", "closed elsewhere", "two writers", "a long record", "a long line"],
)
def test_after_a_quote_that_goes_wrong_nothing_is_read(tmp_path: Path, lines: list[str], end: str, reason: str) -> None:
    rows, (reject,) = read_csv(tmp_path, row("good"), *lines, end=end)
    assert [one.line for one in rows] == [2]
    assert (reject.line, reason in reject.reason) == (3, True), reject.reason
    assert len(reject.text) <= 500


def test_the_longest_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 200)
    fits = row("a", '"' + "\n" * 100)
    fits += "x" * (199 - len(fits)) + '"'
    assert len(fits) == 200
    assert [one.line for one in read_csv(tmp_path, fits, row("b"))[0]] == [2, 103]
    assert read_csv(tmp_path, fits.replace("x", "xy", 1), row("b"))[0] == []


@pytest.mark.parametrize("filler", ['""', '","', "\n", '"\n"', '",""', 'a"'])
def test_quotes_are_followed_in_linear_time(tmp_path: Path, filler: str) -> None:
    def spent(size: int) -> float:
        began = time.process_time()
        read_csv(tmp_path, row("a", '"' + filler * (size // len(filler))))
        return time.process_time() - began

    least = max(min(spent(2**14) for _ in range(3)), CLOCK_TICK)
    assert min(spent(2**17) for _ in range(2)) < 32 * least, "eight times the text takes about eight times as long"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples."""
    return tmp_path_factory.mktemp("usage")


@settings(max_examples=100)
@given(
    texts=st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=20), min_size=1, max_size=10),
    mark=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_in_a_column_is_read_back(directory: Path, texts: list[str], mark: str, end: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, delimiter=mark, quoting=csv.QUOTE_ALL)
    writer.writerow(HEADER.split(","))
    writer.writerows((f"r-{number}", USER, 1, number, 5, one) for number, one in enumerate(texts))
    path = directory / "usage.csv"
    path.write_text(text.getvalue(), "utf-8", newline="")
    rows, rejects = read(path)
    assert ([one.input_tokens for one in rows], rejects) == (list(range(len(texts))), [])


@pytest.mark.parametrize("name", ["semicolon.csv", "tabs.csv"])
@pytest.mark.parametrize("first", ["", "sep=MARK\n", "\ufeff", "\ufeffsep=MARK\r\n"])
def test_the_separator_is_recognised(tmp_path: Path, name: str, first: str) -> None:
    text = (SAMPLES / name).read_text()
    path = tmp_path / name
    path.write_text(first.replace("MARK", ";" if name == "semicolon.csv" else "\t") + text, "utf-8", newline="")
    (one,), rejects = read(path)
    assert (one.line, one.input_tokens, one.output_tokens, rejects) == (3 if "sep" in first else 2, 12, 5, [])


@pytest.mark.parametrize(("code", "bytes_"), [("UTF-16LE", None), ("UTF-16BE", "utf-16-be")])
def test_utf_16_without_a_mark_is_named(tmp_path: Path, code: str, bytes_: str | None) -> None:
    content = (SAMPLES / "utf16_nobom.csv").read_bytes()
    path = tmp_path / "a b.csv"
    path.write_bytes(content if bytes_ is None else content.decode("utf-16-le").encode(bytes_))
    with pytest.raises(UnusableLog, match="is encoded in UTF-16") as caught:
        read(path)
    assert caught.value.next_step == f"iconv -f {code} -t UTF-8 '{path}' > usage.utf8, and settle usage.utf8."


# ------------------------------------------------------------------------------------------------------- arrays


def element(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"r-{number}", "user": USER, "time": 1, "input_tokens": number, "output_tokens": 1} | more


def test_an_array_is_read_element_by_element() -> None:
    rows, rejects = read(SAMPLES / "json_array.json")
    assert [(one.line, one.input_tokens) for one in rows] == [(2, 1), (3, 1)]
    assert rejects == []


@pytest.mark.parametrize("cut", [1, 5, 50, 1 << 18])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_the_rows_may_be_anywhere_in_a_document(
    tmp_path: Path, cut: int, indent: int | None, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [element(number, text='"}],[\\', more={"deep": [1, {"items": [2]}]}) for number in range(3)]
    decoys = {"items": [element(9)], "x": ["data", {"items": [element(8)]}], "data": {"no": [], "items": rows, "z": 1}}
    text = json.dumps(decoys, indent=indent).encode()
    path = tmp_path / ("u.json.gz" if packed else "u.json")
    path.write_bytes(gzip.compress(text) if packed else text)
    monkeypatch.setattr(records, "_BLOCK", cut)
    found, rejects = read(path, Columns(rows="data.items"))
    assert ([one.input_tokens for one in found], rejects) == ([0, 1, 2], [])
    if indent:
        assert [text.split(b"\n")[one.line - 1].strip() for one in found] == [b"{"] * 3
    assert read(path, log_format="json")[0] == []


def test_a_bad_element_is_rejected_alone_and_a_broken_document_from_there_on(tmp_path: Path) -> None:
    path = tmp_path / "u.json"
    good = json.dumps(element(1))
    path.write_text(f'[\n{good},\n{{"id": 1, "id": 2}},\n7,\nnonsense,\n{json.dumps(element(2))}\n]')
    rows, rejects = read(path)
    assert [one.line for one in rows] == [2, 6]
    assert [(one.line, one.reason.split(":")[0]) for one in rejects] == [
        (3, "duplicate field"),
        (4, "not a JSON object"),
        (5, "broken JSON"),
    ]
    path.write_text(f'[{good},\n{{"id": "cut')
    rows, (reject,) = read(path)
    assert (len(rows), reject.line) == (1, 2)
    assert "not closed by the end of the log. Nothing from this line on was read" in reject.reason
    path.write_text(f'[{good},\n{{"id": "{"x" * 2 * MAX_LINE_BYTES}"}}, {good}]')
    rows, (reject,) = read(path)
    assert (len(rows), reject.line, "element too long" in reject.reason) == (1, 2, True)
    path.write_text('{"data": 1}')
    rows, (reject,) = read(path, Columns(rows="data.items"))
    assert reject.reason == "the document has no array at data.items (--rows PATH names another)"


# ---------------------------------------------------------------------------------------------------- at the edges


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are read in blocks of 100 bytes, and lines have at most 400."""
    monkeypatch.setattr(records, "_BLOCK", 100)
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 400)


ELEMENT = json.dumps({"id": "a", "user": USER, "time": 1, "input_tokens": 2, "output_tokens": 3})


def read_json(
    directory: Path, content: str | bytes, columns: Columns | None = None
) -> tuple[list[UsageRow], list[Reject]]:
    path = directory / "u.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path, columns, log_format="json")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("length", [401, 501, 1000, 1999])
def test_after_a_line_of_any_excess_the_next_one_is_read(tmp_path: Path, length: int) -> None:
    path = tmp_path / "u.jsonl"
    path.write_text(f"{ELEMENT}\n{'x' * length}\n\n{ELEMENT}\n{'y' * length}\n{ELEMENT}\n")
    rows, rejects = read(path)
    assert [one.line for one in rows] == [1, 4, 6]
    assert [(one.line, one.reason) for one in rejects] == [
        (line, "line too long: more than 400 bytes" if length > 500 else rejects[0].reason) for line in (2, 5)
    ]


@pytest.mark.usefixtures("small")
def test_a_log_that_ends_in_a_line_too_long_is_read_again_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "u.jsonl"
    path.write_text(f"{ELEMENT}\n{'x' * 2000}")
    log = UsageLog(path)
    rejects: list[Reject] = []
    assert [one.line for one in log.rows(rejects.append)] == [1]
    assert ([one.line for one in rejects], log.reading().offset) == ([2], 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_x", '"a\nb"'),  # an unquoted field may begin with any other character
        ('"a\n_b"', "x"),
        ('"a\nb"', '"x\ny"'),  # one quoted field closes in the line in which the next one opens
        ('"a\nb\n"', '"\nx,""y\n,"'),
    ],
)
def test_a_record_of_several_lines_keeps_its_text(tmp_path: Path, name: str, text: str) -> None:
    rows, rejects = read_csv(tmp_path, row(name, text), row("later"))
    expected = name.strip('"').strip()
    assert [one.request_hash for one in rows] == [sha256(one.encode()).digest() for one in (expected, "later")]
    assert rejects == []


@pytest.mark.parametrize(
    ("content", "columns", "reason"),
    [
        ("{}", Columns(), "the document has no array of rows (--rows PATH names another)"),
        ('{"a": {"b": 1}}', Columns(rows="a.b"), "the document has no array at a.b (--rows PATH names another)"),
        (f'{{"a": 1}}\n[{ELEMENT}]', Columns(), "the document has no array of rows (--rows PATH names another)"),
        (f"{{}}\n[{ELEMENT}]", Columns(), "the document has no array of rows (--rows PATH names another)"),
        (f'{{"b": "a" [{ELEMENT}]}}', Columns(rows="a"), "the document has no array at a (--rows PATH names another)"),
        (f'{{"b": ["a", [{ELEMENT}]]}}', Columns(rows="a"), "the document has no array at a"),
        ('{"a', Columns(rows="a"), "the document has no array at a (--rows PATH names another)"),
        ("", Columns(), "the document has no array of rows (--rows PATH names another)"),
    ],
)  # fmt: skip
def test_a_document_without_the_array_is_rejected_as_a_whole(
    tmp_path: Path, content: str, columns: Columns, reason: str
) -> None:
    rows, (reject,) = read_json(tmp_path, content, columns)
    assert (rows, reject.line, reject.text) == ([], 1, content[:500])
    assert reject.reason.startswith(reason)


@pytest.mark.usefixtures("small")
def test_the_text_before_the_array_may_be_long(tmp_path: Path) -> None:
    before = json.dumps({f"field {number}": ["\u00e9" * 20, {"data": None}] for number in range(50)})[:-1].encode()
    content = before + b', "\xff": 1, "data": [' + ELEMENT.encode() + b"]}"
    rows, rejects = read_json(tmp_path, content, Columns(rows="data"))
    assert ([one.line for one in rows], rejects) == ([1], [])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("length", [400, 1000])
def test_the_longest_element(tmp_path: Path, length: int) -> None:
    element = ELEMENT[:-1].ljust(length - 1) + "}"
    rows, rejects = read_json(tmp_path, "[\n" + ",".join([element] * 5) + "]")
    if length <= 400:
        assert (len(rows), rejects) == (5, [])
    else:
        assert rows == []
        assert [(one.line, one.reason) for one in rejects] == [
            (2, "element too long: more than 400 bytes. Nothing from this line on was read")
        ]


@pytest.mark.usefixtures("small")
def test_an_element_is_read_on_until_more_than_the_limit_is_held(tmp_path: Path) -> None:
    rows, rejects = read_json(tmp_path, " " * 99 + "[" + ELEMENT[:-1].ljust(449) + "}]")
    assert (len(rows), rejects) == (1, [])


def test_an_array_that_is_not_closed_is_reported_where_its_last_element_begins(tmp_path: Path) -> None:
    content = f'[\n{ELEMENT},\n\n  {{"id":\n"b",\n'
    rows, rejects = read_json(tmp_path, content)
    assert [one.line for one in rows] == [2]
    reason = "broken JSON: the array is not closed by the end of the log. Nothing from this line on was read"
    assert rejects == [Reject(4, reason, '{"id":\n"b",\n')]


def test_blanks_around_an_element_do_not_change_the_id_of_its_place(tmp_path: Path) -> None:
    (one,), _ = read_json(tmp_path, f"[ {ELEMENT} \n\t]", Columns({"id": "@row"}))
    assert one.request_hash == sha256(b"serving usage row\x001\0" + ELEMENT.encode()).digest()
