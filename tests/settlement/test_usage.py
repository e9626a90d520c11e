# SPDX-License-Identifier: Apache-2.0
"""Reading a usage log: what is exact becomes a row, everything else is set aside with line and reason."""

from __future__ import annotations

import csv
import gzip
import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.messages.usage import MAX_FEE, Reject, UsageRow
from serving_network.usage_logs.columns import Columns, load_columns, load_users
from serving_network.usage_logs.reader import Format, UnusableLog, UsageLog
from serving_network.usage_logs.records import MAX_LINE_BYTES
from serving_network.usage_logs.values import MAX_TOKENS, parse_time

USER = to_checksum_address("0x" + "a1" * 20)
PROVIDER = to_checksum_address("0x" + "b2" * 20)
HASH = "0x" + "0f" * 32
GOOD: dict[str, Any] = {
    "request_id": "r-1",
    "user": USER,
    "time": "2026-11-22T10:00:00Z",
    "input_tokens": 10,
    "output_tokens": 20,
}


def read(path: Path, columns: Columns | None = None, **options: Any) -> tuple[list[UsageRow], list[Reject]]:
    rejects: list[Reject] = []
    return list(UsageLog(path, columns, **options).rows(rejects.append)), rejects


def read_text(tmp_path: Path, text: str | bytes, name: str = "usage.jsonl", **options: Any) -> Any:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, **options)


def line(**changes: Any) -> str:
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not ...}) + "\n"


def test_a_row_is_read_with_exact_values(tmp_path: Path) -> None:
    rows, rejects = read_text(tmp_path, line(request_id=HASH) + "\n" + line(user=USER.lower()))
    assert not rejects
    assert rows[0] == UsageRow(1, bytes.fromhex(HASH[2:]), HASH, USER, USER, 1_795_341_600_000_000, 10, 20, None)
    assert rows[1].line == 3
    assert (rows[1].user, rows[1].user_text) == (USER, USER.lower())
    assert rows[1].request_hash == sha256(b"r-1").digest()
    assert rows[1].request_text == "0x" + sha256(b"r-1").hexdigest()


@pytest.mark.parametrize("spelling", [HASH, HASH[2:], HASH.upper().replace("0X", "0x"), HASH[2:].upper()])
def test_an_id_that_is_a_hash_keeps_its_spelling(tmp_path: Path, spelling: str) -> None:
    rows, _ = read_text(tmp_path, line(request_id=spelling))
    assert (rows[0].request_hash, rows[0].request_text) == (b"\x0f" * 32, spelling)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": USER[:-1]}, "bad address"),
        ({"user": USER.swapcase().replace("0X", "0x")}, "fails its checksum"),
        ({"user": "0x" + "0" * 40}, "zero address"),
        ({"user": PROVIDER}, "its own user"),
        ({"user": 5}, "bad address"),
        ({"user": ...}, "missing column: user"),
        ({"request_id": ...}, "missing column: request id"),
        ({"request_id": "  "}, "missing column: request id"),
        ({"request_id": "x" * 513}, "request id too long"),
        ({"request_id": ["x"]}, "bad request id"),
        ({"request_id": "\ud800"}, "wrong encoding"),
        ({"time": ...}, "missing column: time"),
        ({"time": "yesterday"}, "bad time"),
        ({"time": True}, "bad time"),
        ({"input_tokens": ...}, "missing column: input tokens"),
        ({"input_tokens": -1}, "negative input tokens"),
        ({"input_tokens": "-1"}, "negative input tokens"),
        ({"input_tokens": 1.5}, "fractional input tokens"),
        ({"input_tokens": 1.25}, "fractional input tokens"),
        ({"output_tokens": "2.5"}, "fractional output tokens"),
        ({"output_tokens": "many"}, "not a whole number"),
        ({"output_tokens": True}, "not a whole number"),
        ({"output_tokens": "+5"}, "not a whole number"),
        ({"output_tokens": "٣"}, "not a whole number"),
        ({"output_tokens": MAX_TOKENS + 1}, "output tokens out of range"),
        ({"output_tokens": "9" * 5000}, "output tokens out of range"),
        ({"fee": MAX_FEE + 1}, "fee out of range"),
        ({"fee": 3, "input_fee": 1, "output_fee": 1}, "the fee is '3', but"),
        ({"input_fee": 1}, "missing column: output fee"),
        ({"output_fee": 1, "fee": 1}, "missing column: input fee"),
    ],
)
def test_an_inexact_row_is_rejected(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    rows, rejects = read_text(tmp_path, line() + line(**change) + line(), provider=PROVIDER)
    assert [row.line for row in rows] == [1, 3]
    assert [reject.line for reject in rejects] == [2]
    assert reason in rejects[0].reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{nonsense}\n", "broken JSON"),
        (b"[1]\n", "not a JSON object"),
        (b'{"input_tokens": NaN}\n', "NaN is not a number"),
        (b"[" * 100_000 + b"\n", "nested more than 100 levels deep"),
        (b'{"a": "]]]]", "b": ' * 200 + b"\n", "nested more than 100 levels deep"),
        (b'{"input_tokens": 1' + b"0" * 5000 + b"}\n", "broken JSON"),
        (b'{"request_id": "\xff"}\n', "wrong encoding: not UTF-8 at byte 17"),
        (b"x" * (MAX_LINE_BYTES + 300_000) + b"\n", "line too long"),
    ],
)
def test_a_line_that_is_not_a_row_is_rejected(tmp_path: Path, content: bytes, reason: str) -> None:
    rows, rejects = read_text(tmp_path, line().encode() + content + line().encode())
    assert [row.line for row in rows] == [1, 3]
    assert [(reject.line, reason in reject.reason) for reject in rejects] == [(2, True)]


def test_an_incomplete_last_json_line_is_rejected_and_a_complete_one_is_not(tmp_path: Path) -> None:
    rows, rejects = read_text(tmp_path, line() + line()[:-5])
    assert (len(rows), rejects[0].line) == (1, 2)
    assert "incomplete last line" in rejects[0].reason
    assert len(read_text(tmp_path, line() + line().rstrip("\n"))[0]) == 2


HEADER = "request_id,user,time,input_tokens,output_tokens\n"


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_csv_cut_anywhere_in_its_last_line_never_settles_a_shorter_number(tmp_path: Path, cut: int) -> None:
    whole = HEADER + f"a,{USER},1795341600,123,456\n" + f"b,{USER},1795341600,12345,67890\n"
    rows, rejects = read_text(tmp_path, whole[:-cut], "usage.csv")
    assert [row.output_tokens for row in rows] == [456]
    assert [reject.line for reject in rejects] == [3]
    assert "incomplete last line" in rejects[0].reason


def test_a_csv_without_a_last_line_end_is_accepted_on_request(tmp_path: Path) -> None:
    text = HEADER + f"a,{USER},1795341600,1,2"
    assert len(read_text(tmp_path, text, "usage.csv", whole_last_line=True)[0]) == 1


def test_csv_rows_are_rejected_one_by_one(tmp_path: Path) -> None:
    text = HEADER + "\r\n".join(
        [
            f'"a, quoted",{USER},1795341600,1,2',
            f"b,{USER},1795341600,1",
            f"d,{USER},1795341600, 3 ,4,",
            f"e,{USER},1795341600, 3 ,4",
            "",
        ]
    )
    rows, rejects = read_text(tmp_path, text, "usage.csv")
    assert [(row.line, row.input_tokens) for row in rows] == [(2, 1), (5, 3)]
    assert [(reject.line, reject.reason.split(":")[0]) for reject in rejects] == [
        (3, "4 columns where the header has 5"),
        (4, "6 columns where the header has 5"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("user,time,input_tokens,output_tokens\n", "no column for id"),
        ("request_id,time,input_tokens,output_tokens\n", "no column for user"),
        ("request_id,user,user,time,input_tokens,output_tokens\n", "two columns called user"),
    ],
)
def test_an_unreadable_csv_is_reported_with_a_next_step(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UnusableLog, match=complaint) as caught:
        read_text(tmp_path, text, "usage.csv")
    assert caught.value.next_step


def test_a_missing_file_format_or_encoding_is_reported_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(UnusableLog, match="cannot be read"):
        read(tmp_path / "absent.csv")
    with pytest.raises(UnusableLog, match="not clear from its name"):
        UsageLog(tmp_path / "usage.log")
    with pytest.raises(UnusableLog, match="UTF-16"):
        read_text(tmp_path, line().encode("utf-16"))


def test_a_log_of_another_system_is_read_unchanged(tmp_path: Path) -> None:
    mapping = tmp_path / "columns.toml"
    mapping.write_text('[columns]\ntime = "TIMESTAMP"\ninput_tokens = "ContextTokens"\nid = "@row"\n')
    columns = load_columns(mapping).with_assignments(["output_tokens=GeneratedTokens", "user = customer"])
    names = tmp_path / "users.json"
    names.write_text(json.dumps({"acme": USER.lower()}))
    text = "TIMESTAMP,ContextTokens,GeneratedTokens,customer\n" + 2 * "2023-11-16 18:15:46.6805900,374,44,acme\n"
    text += "2023-11-16 18:15:47,1,1,stranger\n"
    path = tmp_path / "trace.csv"
    path.write_text(text)
    rows, rejects = read(path, columns, users=load_users(names))
    assert [(row.user, row.user_text, row.input_tokens, row.output_tokens) for row in rows] == [
        (USER, USER, 374, 44)
    ] * 2
    assert rows[0].time == 1_700_158_546_680_590
    assert rows[0].request_hash != rows[1].request_hash
    assert [row.request_hash for row in read(path, columns, users={"acme": USER})[0]] == [
        row.request_hash for row in rows
    ]
    assert rejects == [Reject(4, "unknown user: 'stranger' is not on the list of users", text.splitlines()[3])]


def test_a_mapping_reaches_into_json_objects(tmp_path: Path) -> None:
    row = {
        "id": "chatcmpl-1",
        "user": USER,
        "created_at": 1_795_341_600,
        "usage": {"prompt_tokens": 7, "completion_tokens": 8},
    }
    rows, rejects = read_text(tmp_path, json.dumps(row) + "\n")
    assert (rows[0].input_tokens, rows[0].output_tokens, rejects) == (7, 8, [])


@pytest.mark.parametrize("assignment", ["user", "colour=red", "user=", "user=@row", "id=@line"])
def test_an_invalid_mapping_is_refused(assignment: str) -> None:
    with pytest.raises(InvalidInput):
        Columns().with_assignments([assignment])


@pytest.mark.parametrize(
    "content", [b"[columns", b"\xff", b"columns = 1", b"[columns]\nuser = 1", b"[columns]\nx = 'y'"]
)
def test_a_broken_mapping_file_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "columns.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        load_columns(path)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b'{"a": 1}', b"[" * 100_000])
def test_a_broken_user_file_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "users.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        load_users(path)


def test_a_row_may_bring_its_own_fees(tmp_path: Path) -> None:
    rows, rejects = read_text(
        tmp_path,
        line(fee=9, input_tokens=..., output_tokens=...) + line(input_fee="3", output_fee=4, fee="7") + line(fee=0),
    )
    assert not rejects
    assert [row.fees for row in rows] == [(0, 9), (3, 4), (0, 0)]
    assert [row.input_tokens for row in rows] == [0, 10, 10]


def test_a_gzipped_log_reads_like_a_plain_one_up_to_a_break(tmp_path: Path) -> None:
    text = "".join(line(request_id=f"r-{number}") for number in range(5000)).encode()
    packed = gzip.compress(text, mtime=0)
    rows, rejects = read_text(tmp_path, packed, "usage.jsonl.gz")
    assert (len(rows), rejects) == (5000, [])
    rows, rejects = read_text(tmp_path, packed[: len(packed) // 2], "usage.jsonl.gz")
    assert 0 < len(rows) < 5000
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    assert "is cut off" in rejects[-1].reason


@pytest.mark.parametrize(
    ("time", "microseconds"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T01:00:01+01:00", 1_000_000),
        ("1970-01-01 00:00:00.0000019", 1),
        (1, 1_000_000),
        ("1.5", 1_500_000),
        (1_795_341_600_123, 1_795_341_600_123_000),
    ],
)
def test_times_of_all_formats_are_read(time: Any, microseconds: int) -> None:
    assert parse_time(time) == microseconds


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples."""
    return tmp_path_factory.mktemp("usage")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**14),
    st.floats(allow_nan=False),
    st.text(max_size=30),
    st.sampled_from([USER, PROVIDER, HASH, "1", "2026-11-22T10:00:00Z"]),
)


@settings(max_examples=200)
@given(rows=st.lists(st.dictionaries(st.sampled_from([*sorted(GOOD), "fee", "input_fee"]), VALUES), max_size=20))
def test_every_line_is_either_a_row_or_a_reject(directory: Path, rows: list[dict[str, Any]]) -> None:
    path = directory / "usage.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    good, bad = read(path)
    assert sorted([row.line for row in good] + [reject.line for reject in bad]) == list(range(1, len(rows) + 1))
    for row in good:
        told = rows[row.line - 1]
        if row.fees is None:
            assert row.input_tokens == int(told["input_tokens"])
        assert row.user == to_checksum_address(str(told["user"]).strip())


@settings(max_examples=300)
@given(content=st.binary(max_size=400), log_format=st.sampled_from(["csv", "jsonl"]))
def test_arbitrary_bytes_do_not_break_the_reader(directory: Path, content: bytes, log_format: Format) -> None:
    path = directory / "usage"
    path.write_bytes((HEADER.encode() if log_format == "csv" else b"") + content)
    try:
        rows, _ = read(path, log_format=log_format)
    except UnusableLog:
        return
    assert all(row.input_tokens >= 0 and len(row.request_hash) == 32 for row in rows)


@settings(max_examples=100)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\x85\u2028\u2029"), min_size=1)
            .map(str.strip)
            .filter(lambda text: 0 < len(text) < 400),
            st.integers(0, MAX_TOKENS),
            st.integers(0, MAX_TOKENS),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_output_of_the_csv_library_is_read_back(directory: Path, rows: list[tuple[str, int, int]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER.strip().split(","))
    writer.writerows((name, USER, "1795341600", tokens, more) for name, tokens, more in rows)
    path = directory / "usage.csv"
    path.write_text(text.getvalue(), "utf-8", newline="")
    good, bad = read(path, max_row=MAX_TOKENS)
    assert not bad
    assert [(row.input_tokens, row.output_tokens) for row in good] == [row[1:] for row in rows]
