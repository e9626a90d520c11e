# SPDX-License-Identifier: Apache-2.0
"""Lines that are matched as a whole are read exactly as one by one: the careful reader is the reference."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.messages.usage import Reject, UsageRow
from serving_network.usage_logs import reader
from serving_network.usage_logs.columns import Columns
from serving_network.usage_logs.reader import UnusableLog, UsageLog
from serving_network.usage_logs.values import read_json

USERS = [to_checksum_address(bytes([number]) * 20) for number in (161, 178)]
ADDRESSES = [USERS[0], USERS[1].lower(), f" {USERS[0]} ", USERS[0].swapcase(), "customer", "", "{", '{"a": 1}']
IDS = ["req-1", " req-2", "req-3 ", "ü", "0x" + "AB" * 32, "cd" * 32, "x" * 64, "x" * 513, "", " ", "\u2003a", "{}"]
TIMES = [
    1_795_000_000, 1_795_000_000_000, 1_795_000_000_000_000, 10**18, 10**19, 0, -1, 99_999_999_999, 10**11, 20261128,
    "2026-11-28T10:00:00Z", "1795000000", "20261128", "1795000000.5", " 1795000000", 1_795_000_000.25, None,
]  # fmt: skip
COUNTS: list[Any] = [
    0,
    7,
    10**7,
    10**7 + 1,
    10**12,
    10**19,
    -1,
    True,
    None,
    1.5,
    "12",
    "007",
    " 7",
    "1.10",
    "٣",
    "1e3",
    "",
    {},
]
OTHERS = ["", "text", " {", "{", '{"out": 5}', "ü\u2028", 0, -5, 1.25, 1e300, True, False, None, [], [1, 2], {"out": 3}]
COLUMNS = [
    Columns(),
    Columns({"id": "@row"}),
    Columns({"output_tokens": "note.out|output_tokens"}),
    Columns({"input_tokens": "input_tokens+output_tokens", "cached_tokens": "note|0"}),
    Columns({"user": "note|user"}, absent=("text",)),
    Columns(skip=("note=text",)),
    Columns(only=("note=text", "note=0"), id_with_time=True),
    Columns(user=USERS[1]),
    Columns(start="2026-11-28T00:00Z", time_unit="ms"),
    Columns(start="2026-11-28T00:00Z"),
    Columns({"fee": "note"}),
]
VALUES: dict[str, list[Any]] = {
    "id": IDS, "user": ADDRESSES, "time": TIMES, "input_tokens": COUNTS, "output_tokens": COUNTS, "note": OTHERS,
}  # fmt: skip
_NAMES = list(VALUES)
_FEW_NAMES = st.lists(st.sampled_from(_NAMES), max_size=2)
_ONE_OF = {name: st.sampled_from(values) for name, values in VALUES.items()}


def no_shape(*_: object) -> None:
    """No line has a shape."""


@contextmanager
def carefully() -> Iterator[None]:
    with mock.patch("serving_network.usage_logs.reader._first_shape", no_shape):
        yield


def all_of(path: Path, columns: Columns, users: dict[str, str] | None) -> Any:
    """What reading a log gives, in its order, and where it ended."""
    log = UsageLog(path, columns, users=users)
    found: list[UsageRow | Reject] = []
    try:
        for row in log.rows(found.append):
            found.append(row)  # noqa: PERF402 - rejects are added meanwhile
    except UnusableLog as error:
        return str(error)
    return [(type(one), one) for one in found], log.left_out, log.reading()


def check(
    name: str, content: bytes, columns: Columns, users: dict[str, str] | None = None, block: int = 1 << 18
) -> Any:
    with tempfile.TemporaryDirectory() as directory, mock.patch("serving_network.usage_logs.records._BLOCK", block):
        path = Path(directory) / name
        path.write_bytes(content)
        quickly = all_of(path, columns, users)
        with carefully():
            assert quickly == all_of(path, columns, users)
    return quickly


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows that have most of their values in common kinds, and some odd ones."""
    usual = {name: values[0] for name, values in VALUES.items()} | {"note": draw(_ONE_OF["note"])}
    usual["time"] = draw(_ONE_OF["time"])
    names = draw(st.permutations(_NAMES))
    made = []
    for number in range(draw(st.integers(1, 12))):
        row = usual | {"id": f"req-{number}"}
        for name in draw(_FEW_NAMES):
            row[name] = draw(_ONE_OF[name])
        made.append({name: row[name] for name in names})
    return made


def damaged(draw: st.DrawFn, line: str, alphabet: str) -> str:
    """The line, now and then with a character too many or too few."""
    if draw(st.integers(0, 9)):
        return line
    place = draw(st.integers(0, len(line)))
    drawn: str = draw(st.sampled_from(["", *alphabet]))
    return line[:place] + drawn + line[place + draw(st.integers(0, 1)) :]


@st.composite
def logs(draw: st.DrawFn) -> tuple[str, bytes]:
    found = draw(rows())
    end = draw(st.sampled_from(["\n", "\r\n"]))
    if draw(st.booleans()):
        style = draw(st.sampled_from([None, (",", ":"), (" , ", " : ")]))
        ascii_only = draw(st.booleans())
        lines = [json.dumps(row, separators=style, ensure_ascii=ascii_only) for row in found]
        lines = [damaged(draw, line, ' "\\,{}[]0-.e\x00\x1f\tü') for line in lines]
        name = "u.jsonl"
    else:
        separator = draw(st.sampled_from([",", ";", "\t"]))
        lines = [separator.join("" if one is None else str(one) for one in row.values()) for row in found]
        lines = [separator.join(found[0]), *(damaged(draw, line, ' ",;\t{\r0ü') for line in lines)]
        name = "u.csv"
    for _ in range(draw(st.integers(0, 2))):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(["", " ", "\u2003", "no row"])))
    text = end.join(lines) + draw(st.sampled_from([end, ""]))
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    content = mark + text.encode("utf-8", "surrogatepass")
    return name, content if draw(st.integers(0, 9)) else content.replace(b"req-2", b"req-\xff")


@settings(max_examples=150, deadline=None)
@given(
    log=logs(),
    columns=st.sampled_from(COLUMNS),
    users=st.sampled_from([None, {"customer": USERS[0], USERS[0]: USERS[1], USERS[1]: USERS[1]}]),
    block=st.sampled_from([7, 300, 1 << 18]),
)
def test_any_log_is_read_as_one_by_one(
    log: tuple[str, bytes], columns: Columns, users: dict[str, str] | None, block: int
) -> None:
    check(*log, columns, users, block)


def line(**changes: Any) -> str:
    usual = {"id": "a", "user": USERS[0], "time": 1_795_000_000, "input_tokens": 1, "output_tokens": 2}
    return json.dumps(usual | changes)


@pytest.mark.parametrize(
    "odd",
    [
        line()[:-1] + ', "id": "b"}',  # a key twice
        line().replace(": 2}", ": 1.10}"),
        line().replace(": 2}", ": 02}"),
        line().replace(": 2}", ": -0}"),
        line().replace(": 2}", ": NaN}"),
        line(id="\ue0000"),
        line(id='a"b'),
        line(id="a "),
        line(id=""),
        line(user=""),
        line() + "x",
        line(time=10**11 - 1),
        line(time=10**11),
        line(time=10**13),
        line(id="f" * 64),
        line(id="g" * 600),
        line(user=USERS[0] + " "),
        line(input_tokens=10**7 + 1),
        line(input_tokens=10**18),
    ],
)
def test_a_line_unlike_the_others_is_read_as_on_its_own(odd: str) -> None:
    usual = [line(id=f"r{number}") for number in range(3)]
    content = "\n".join([*usual, odd, *usual, ""]).encode()
    found, _, _ = check("u.jsonl", content, Columns())
    with carefully():
        alone, _, _ = check("u.jsonl", ("\n" * 3 + odd + "\n").encode(), Columns())
    assert len(found) == 7
    assert found[3] == alone[0]


@pytest.mark.parametrize("odd", ["5x", "05", "[]", "nul", "-", '1, "x": 2', '"5"', "5 5", "1e", "{", "-0", "1.5e9"])
@pytest.mark.parametrize("usual", ["5", "-0", "-5", "1.5"])
@pytest.mark.parametrize("columns", [Columns(), Columns({"seconds": "x"}), Columns({"id": "x"})])
def test_a_number_is_only_taken_for_a_number(usual: str, odd: str, columns: Columns) -> None:
    lines = [line(id=f"r{number}", x="?").replace('"?"', odd if number == 2 else usual) for number in range(4)]
    found, _, _ = check("u.jsonl", "\n".join([*lines, ""]).encode(), columns)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("usual", "odd", "columns"),
    [
        ("text", "{", Columns({"output_tokens": "note.out|output_tokens"})),  # broken JSON in a column
        (USERS[0], " ", Columns({"user": "note|user"})),  # the next column counts
        (" ", USERS[0], Columns({"user": "note|user"})),
        (USERS[0], "nobody", Columns({"user": "note|user"}, absent=("nobody",))),
        ("1", "2", Columns(skip=("note=2",))),
        ("2", "1", Columns(skip=("note=2",))),
        ("3", "4", Columns({"output_tokens": "note+output_tokens"})),
        ("3", "x", Columns({"images": "note"})),
    ],
)
@pytest.mark.parametrize("name", ["u.jsonl", "u.csv"])
def test_a_value_that_decides_where_a_field_is_read(name: str, usual: str, odd: str, columns: Columns) -> None:
    made = [json.loads(line(id=f"r{number}", user=USERS[1], note=odd if number == 3 else usual)) for number in range(5)]
    lines = [json.dumps(row) if name == "u.jsonl" else ",".join(map(str, row.values())) for row in made]
    header = [] if name == "u.jsonl" else [",".join(made[0])]
    found, left_out, _ = check(name, "\n".join([*header, *lines, ""]).encode(), columns)
    assert len(found) + left_out == 5


USUAL = [line(id=f"r{number}", user=USERS[number % 2].lower(), time=1_795_000_000 + number) for number in range(4)]


@pytest.mark.parametrize(
    "columns",
    [
        *COLUMNS,
        Columns(id_with_time=True),
        Columns(skip=("id=r1",)),
        Columns({"seconds": "input_tokens", "images": "output_tokens", "cached_tokens": "1"}),
        Columns({"id": "time"}),
        Columns({"id": "note|id"}, absent=("text",)),
        Columns({"images": "1"}),
        Columns({"seconds": "note", "cached_tokens": "note"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["u.jsonl", "u.csv"])
def test_usual_lines_are_read_as_one_by_one_with_any_columns(name: str, columns: Columns) -> None:
    rows = [{"note": note} | json.loads(one) for one in USUAL for note in ("text", "0", "5")]
    small = [row | {"time": number} for number, row in enumerate(rows, 100)]
    for made in rows, small:
        lines = [json.dumps(row) if name == "u.jsonl" else ",".join(map(str, row.values())) for row in made]
        header = [] if name == "u.jsonl" else [",".join(made[0])]
        found, left_out, _ = check(name, "\n".join([*header, *lines, ""]).encode(), columns)
        assert len(found) + left_out == len(made)


@pytest.mark.parametrize("name", ["u.jsonl", "u.csv"])
@pytest.mark.parametrize(
    ("start", "named", "values"),
    [
        ("", {"images": "1"}, [(1_795_000_000_000_000, 0), (1_795_000_001_000_000, 0), (1_795_000_002_000_000, 0)]),
        ("1970-01-01T00:00Z", {"seconds": "time"}, [(second * 10**6, second) for second in range(1795, 1798)]),
    ],
)
def test_a_log_of_one_column_is_read_whole(
    name: str, start: str, named: dict[str, str], values: list[tuple[int, int]]
) -> None:
    columns = Columns({"id": "@row", "input_tokens": "0", "output_tokens": "3"} | named, user=USERS[0], start=start)
    times = [seconds or time // 10**6 for time, seconds in values]
    lines = [json.dumps({"time": time}) if name == "u.jsonl" else str(time) for time in times]
    found, _, _ = check(name, "\n".join([*([] if name == "u.jsonl" else ["time"]), *lines, ""]).encode(), columns)
    assert [(row.time, row.seconds) for _, row in found] == values


@pytest.mark.parametrize("name", ["u.jsonl", "u.csv"])
@pytest.mark.parametrize(
    "columns", [Columns(), Columns({"seconds": "note"}), Columns({"output_tokens": "note.out|output_tokens"})]
)
def test_after_any_value_any_other_is_read_as_one_by_one(name: str, columns: Columns) -> None:
    """The first row makes the shape, each of the others has another value in one column."""
    usual = {"id": "r", "user": USERS[0], "time": 1_795_000_000, "input_tokens": 1, "output_tokens": 2, "note": "7"}
    for column, values in VALUES.items():
        made = [usual | {column: value} for value in values]
        for first in values:
            rows = [usual | {column: first}] * 5 + made
            if name == "u.jsonl":
                lines = [json.dumps(row) for row in rows]
            else:
                lines = [
                    ",".join(usual),
                    *(",".join("" if one is None else str(one) for one in row.values()) for row in rows),
                ]
            check(name, "\n".join([*lines, ""]).encode(), columns)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_of_csv_unlike_the_others_is_read_as_on_its_own(end: str) -> None:
    usual = f"r,{USERS[0]},1795000000,1,2,x y"
    odd = [
        usual + ",", usual + ",more", f",{usual}", usual.replace(",x y", ",,x y"), usual.replace("x y", ""),
        usual.removesuffix(",x y"), usual + "\r", f" {usual}",
        usual.replace("r,", "r\rs,"), usual.replace("r,", "r\v,"), usual.replace(",1,", ",,"),
        usual.replace("x y", "{"),
        usual.replace("r,", ","), usual.replace("r,", " ,"), usual.replace("r,", "\ue0000,"), f"{usual}\0", "",
    ]  # fmt: skip
    lines = ["id,user,time,input_tokens,output_tokens,note", usual, *odd, usual, ""]
    found, _, _ = check("u.csv", end.join(lines).encode(), Columns())
    assert len(found) == len(odd) + 1  # nothing is said of the empty line
    for block in 100, 300:
        check("u.csv", end.join(lines).encode(), Columns(), block=block)


def test_a_line_with_an_escape_makes_no_shape_of_a_line_without_it() -> None:
    lines = [line(note=note, id=f"r{number}") for number, note in enumerate(('"', "", "", "x", ""))]
    found, left_out, _ = check("u.jsonl", "\n".join([*lines, ""]).encode(), Columns(skip=("note=",)))
    assert ([row.line for _, row in found], left_out) == ([1, 4], 3)


def test_a_value_that_begins_like_a_mark_is_no_mark() -> None:
    for number in "0", "3", "13", "x":
        row = json.loads(line(id="id", note=f"\ue000{number}"))
        text = (json.dumps(row, ensure_ascii=False) + "\n") * 3
        for columns in Columns({"id": "note"}, skip=("note=y",)), Columns({"id": "note"}):
            found, _, _ = check("u.jsonl", text.encode(), columns)
            assert [one.request_hash for _, one in found] == [sha256(f"\ue000{number}".encode()).digest()] * 3


def test_a_line_that_is_not_text_is_rejected_in_any_block() -> None:
    lines = [one.encode() + b"\n" for one in USUAL]
    for place in range(4):
        broken = [*lines[:place], lines[place].replace(b"r", b"\xff", 1), *lines[place + 1 :]]
        found, _, _ = check("u.jsonl", b"".join(broken), Columns(), block=len(lines[0]) + 1)
        assert [kind is Reject for kind, _ in found] == [number == place for number in range(4)]


def test_a_header_of_two_lines_is_read_whatever_the_first_block_holds() -> None:
    text = f"sep=;\nid;user;time;input_tokens;output_tokens\nr;{USERS[0]};1;2;3\ns;{USERS[0]};1;2;3\n"
    for block in range(4, 60):
        found, _, _ = check("u.csv", text.encode(), Columns(), block=block)
        assert [row.line for _, row in found] == [3, 4]


class Counted:
    """How many lines were read one by one, and how many values of rows one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parsed = mock.Mock(side_effect=read_json)
        self.rows = mock.Mock(side_effect=UsageLog._row, autospec=True)
        monkeypatch.setattr(reader, "read_json", self.parsed)
        monkeypatch.setattr(UsageLog, "_row", lambda *given: self.rows(*given))

    def read(self, path: Path, lines: list[str], *, end: str = "\n") -> tuple[int, int]:
        self.parsed.reset_mock()
        self.rows.reset_mock()
        path.write_text(end.join([*lines, ""]), newline="")
        assert len(list(UsageLog(path).rows(refused))) == len(lines) - (path.suffix == ".csv")
        return self.parsed.call_count, self.rows.call_count


def refused(reject: Reject) -> None:
    pytest.fail(reject.reason)


def test_lines_of_one_shape_are_matched_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the reader would be right and slow."""
    counted = Counted(monkeypatch)
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    nested = [
        json.dumps(
            {"request_id": f"r{n}", "usage": usage, "user": USERS[n % 2], "time": 1_795_000_000 + n, "cost": n / 7}
        )
        for n in range(500)
    ]
    for lines in ([line(id=f"r{n}") for n in range(500)], nested):
        assert counted.read(tmp_path / "u.jsonl", lines) == (1, 0)
    header = "id,user,time,input_tokens,output_tokens"
    rows = [f"r{n},{USERS[n % 2]},{1_795_000_000 + n},{n},5" for n in range(500)]
    assert counted.read(tmp_path / "u.csv", [header, *rows]) == (0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "2026-11-28T10:00:00Z"}, {"time": 1_795_000_000.25}, {"time": "1795000000"}, {"input_tokens": "7"},
        {"id": "r 1 x"}, {"note": " "}, {"note": ""}, {"note": "a b"}, {"cached_tokens": ""}, {"fee": None},
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["u.jsonl", "u.csv"])
def test_usual_variants_of_lines_have_a_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, end: str, changes: dict[str, Any]
) -> None:
    counted = Counted(monkeypatch)
    rows = [json.loads(line(id=f"r{n}")) | {"note": "x" * (n % 5)} | changes for n in range(3, 40)]
    if name == "u.jsonl":
        assert counted.read(tmp_path / name, [json.dumps(row) for row in rows], end=end) == (1, 0)
    else:
        lines = [",".join("" if one is None else str(one) for one in row.values()) for row in rows]
        assert counted.read(tmp_path / name, [",".join(rows[0]), *lines], end=end) == (0, 0)


def test_two_values_are_enough_for_a_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    columns = Columns({"id": "@row", "output_tokens": "1"}, user=USERS[0])
    path = tmp_path / "u.jsonl"
    path.write_text("".join(json.dumps({"time": number, "input_tokens": number}) + "\n" for number in range(100, 200)))
    assert [row.input_tokens for row in UsageLog(path, columns).rows(refused)] == list(range(100, 200))
    assert counted.parsed.call_count == 1


def test_a_shape_is_looked_for_behind_lines_that_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    odd = [line(id="a").replace("a", "\\u0061")] * 2
    usual = [line(id=f"r{n}") for n in range(500)]
    assert counted.read(tmp_path / "u.jsonl", [*odd, *usual])[0] < 10
    left_out = Columns(skip=("output_tokens=1",))
    path = tmp_path / "u.jsonl"
    path.write_text("\n".join(["", "no row", *(line(output_tokens=1) for _ in range(2)), *usual, ""]))
    counted.parsed.reset_mock()
    assert len(list(UsageLog(path, left_out).rows(lambda _: None))) == 500
    assert counted.parsed.call_count < 10


def test_another_shape_is_taken_when_most_lines_of_a_block_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    one = line(x="y").ljust(199)
    other = line(y=["z"]).ljust(199)
    monkeypatch.setattr("serving_network.usage_logs.records._BLOCK", 800)

    def parsed(kinds: str) -> int:
        return counted.read(tmp_path / "u.jsonl", [one if kind == "1" else other for kind in kinds])[0]

    assert parsed("111111111111") == 1  # the first line, for its shape
    assert parsed("111111221111") == 1 + 2
    assert parsed("1111122222222222") == 1 + 3 + 1
    assert parsed("1111122211111111") == 1 + 3 + 1
