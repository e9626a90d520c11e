# SPDX-License-Identifier: Apache-2.0
"""The reader's rules at their edges: which number, which name, which line is the last that is taken."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.resources import files
from inspect import unwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.messages.usage import (
    MAX_FEE,
    MAX_ID_CHARACTERS,
    BadRow,
    Reject,
    UsageRow,
    identify_request,
    is_absent,
    text_of,
)
from serving_network.usage_logs import records as usage
from serving_network.usage_logs.columns import Columns, load_columns, load_users, presets
from serving_network.usage_logs.reader import MAX_ROW, UnusableLog, UsageLog
from serving_network.usage_logs.records import MAX_LINE_BYTES
from serving_network.usage_logs.sources import csv_column
from serving_network.usage_logs.values import MAX_TOKENS, Fraction, parse_offset, parse_time

USER = to_checksum_address("0x" + "a1" * 20)
OTHER = to_checksum_address("0x" + "b2" * 20)
GOOD: dict[str, Any] = {"id": "r", "user": USER, "time": 1, "input_tokens": 10, "output_tokens": 20}
HEADER = "id,user,time,input_tokens,output_tokens"


def read(
    directory: Path, content: str | bytes, name: str = "u.jsonl", columns: Columns | None = None, **options: Any
) -> tuple[list[UsageRow], list[Reject]]:
    (directory / name).write_bytes(content.encode() if isinstance(content, str) else content)
    rejects: list[Reject] = []
    return list(UsageLog(directory / name, columns, **options).rows(rejects.append)), rejects


def line(**changes: Any) -> str:
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not ...}) + "\n"


def reason(directory: Path, **changes: Any) -> str:
    rows, (reject,) = read(directory, line(**changes))
    assert rows == []
    assert reject.text == line(**changes).rstrip("\n")[:500]
    return reject.reason


# ---------------------------------------------------------------------------------------------------- numbers


def test_the_largest_amounts_are_read() -> None:
    assert (MAX_TOKENS, MAX_FEE, MAX_ID_CHARACTERS, MAX_LINE_BYTES) == (10**12, 2**94 - 1, 512, 2**20)
    assert MAX_ROW == 10**7


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((value, int(value)) for value in (0, 7, MAX_TOKENS, "0", "7", "007", " 7 ", str(MAX_TOKENS))),
        (120.0, 120), ("120.0", 120), ("1.2E+05", 120_000), ("5.0", 5), ("1.5e1", 15), ("10e-1", 1), ("1e12", 10**12),
    ],
)  # fmt: skip
def test_a_whole_number_is_read_exactly(tmp_path: Path, value: Any, number: int) -> None:
    (row,), _ = read(tmp_path, line(input_tokens=value, output_tokens=1), max_row=MAX_TOKENS)
    assert (row.input_tokens, row.output_tokens) == (number, 1)
    (row,), _ = read(tmp_path, line(input_tokens=1, output_tokens=value), max_row=MAX_TOKENS)
    assert (row.input_tokens, row.output_tokens) == (1, number)


@pytest.mark.parametrize("kind", ["input", "output"])
def test_a_row_above_the_token_limit_is_rejected(tmp_path: Path, kind: str) -> None:
    name = f"{kind}_tokens"
    (row,), _ = read(tmp_path, line(input_tokens=MAX_ROW, output_tokens=MAX_ROW))
    assert (row.input_tokens, row.output_tokens) == (MAX_ROW, MAX_ROW)
    why = f"too many {kind} tokens: 10000001, the limit for one row is 10000000 (--max-row)"
    assert reason(tmp_path, **{name: MAX_ROW + 1}) == why
    assert reason(tmp_path, **{name: str(MAX_ROW + 1), "fee": 1}) == why
    (row,), _ = read(tmp_path, line(**{name: MAX_ROW + 1}), max_row=MAX_ROW + 1)
    assert MAX_ROW + 1 in (row.input_tokens, row.output_tokens)
    _, (reject,) = read(tmp_path, line(input_tokens=20, output_tokens=20), max_row=19)
    assert reject.reason == "too many input tokens: 20, the limit for one row is 19 (--max-row)"


@pytest.mark.parametrize("kind", ["cached tokens", "images", "seconds"])
def test_other_units_above_the_limit_of_a_row_are_rejected(tmp_path: Path, kind: str) -> None:
    columns = Columns({kind.replace(" ", "_"): "n"})
    _, (reject,) = read(tmp_path, line(n=MAX_ROW + 1), columns=columns)
    assert reject.reason == f"too many {kind}: 10000001, the limit for one row is 10000000 (--max-row)"


@pytest.mark.parametrize("limit", [0, -1, MAX_TOKENS + 1])
def test_an_impossible_token_limit_is_refused(limit: int) -> None:
    with pytest.raises(InvalidInput, match="is not possible") as caught:
        UsageLog(Path("u.jsonl"), max_row=limit)
    assert caught.value.next_step == "Give --max-row a number from 1 to 1000000000000."


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (MAX_TOKENS + 1, "input tokens out of range: '1000000000001', the limit is 1000000000000"),
        (str(MAX_TOKENS + 1), "input tokens out of range: '1000000000001', the limit is 1000000000000"),
        ("0" * 99 + "1", "input tokens out of range"), (" " + "9" * 200 + " ", "input tokens out of range"),
        (-1, "negative input tokens: '-1'"), ("-1", "negative input tokens: '-1'"), ("-1.5", "negative input tokens"),
        (" -3 ", "negative input tokens: '-3'"), ("1.5", "fractional input tokens: '1.5'"), ("1e-3", "fractional"),
        (".5", "are not a whole number"), ("5.", "fractional"), ("+1.5", "fractional"), ("+5", "not a whole number"),
        ("1 2", "are not a whole number"), ("½", "are not a whole number"), ("x" * 61, "'" + "x" * 57 + "...'"),
        ("x" * 60, "'" + "x" * 60 + "'"), ("", "missing column: input tokens"), ("  ", "missing column: input tokens"),
        (None, "missing column: input tokens"), ([1], "are not a whole number: '[1]'"),
        (True, "are not a whole number: 'True'"),
    ],
)  # fmt: skip
def test_values_that_are_not_counts_are_rejected_with_the_reason(tmp_path: Path, value: Any, why: str) -> None:
    assert why in reason(tmp_path, input_tokens=value)
    assert why.replace("input", "output") in reason(tmp_path, output_tokens=value)


def test_a_text_of_ninety_nine_digits_is_still_a_number(tmp_path: Path) -> None:
    (row,), _ = read(tmp_path, line(input_tokens="0" * 98 + "5"))
    assert row.input_tokens == 5


@pytest.mark.parametrize(
    ("fees", "taken"),
    [
        ({"fee": 0}, (0, 0)), ({"fee": MAX_FEE}, (0, MAX_FEE)), ({"fee": "9"}, (0, 9)),
        ({"input_fee": 0, "output_fee": 0}, (0, 0)), ({"input_fee": MAX_FEE, "output_fee": MAX_FEE}, (MAX_FEE,) * 2),
        ({"inputFee": 3, "outputFee": 4}, (3, 4)), ({"input_fee": 3, "output_fee": 4, "fee": 7}, (3, 4)),
        ({"input_fee": MAX_FEE, "output_fee": MAX_FEE, "fee": 2 * MAX_FEE}, (MAX_FEE,) * 2),
        ({"fee": "", "input_fee": 1, "output_fee": 2}, (1, 2)), ({"fee": None}, None), ({"fee": ""}, None),
        ({"fee": " ", "input_fee": "", "output_fee": None}, None),
    ],
)  # fmt: skip
def test_fees_of_a_row_are_read(tmp_path: Path, fees: dict[str, Any], taken: tuple[int, int] | None) -> None:
    (row,), _ = read(tmp_path, line(**fees))
    assert (row.fees, row.input_tokens, row.output_tokens) == (taken, 10, 20)


@pytest.mark.parametrize(
    ("fees", "why"),
    [
        ({"fee": MAX_FEE + 1}, "fee out of range"), ({"fee": -1}, "negative fee"), ({"fee": "1.5"}, "fractional fee"),
        ({"input_fee": MAX_FEE + 1, "output_fee": 0}, "input fee out of range"),
        ({"input_fee": 0, "output_fee": MAX_FEE + 1}, "output fee out of range"),
        ({"input_fee": 1}, "missing column: output fee, required with the other"),
        ({"output_fee": 1}, "missing column: input fee, required with the other"),
        ({"input_fee": 1, "output_fee": 2, "fee": 4}, "the fee is '4', but input and output fee add up to 3"),
        ({"input_fee": 1, "output_fee": 2, "fee": 2}, "the fee is '2', but input and output fee add up to 3"),
    ],
)  # fmt: skip
def test_inconsistent_fees_are_rejected(tmp_path: Path, fees: dict[str, Any], why: str) -> None:
    assert why in reason(tmp_path, **fees)


def test_a_row_with_a_fee_needs_no_tokens_but_keeps_them(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, line(fee=1, input_tokens=...) + line(fee=1, output_tokens="") + line(fee=1))
    assert [(row.input_tokens, row.output_tokens) for row in rows] == [(0, 20), (10, 0), (10, 20)]
    assert rejects == []
    assert "negative" in reason(tmp_path, fee=1, input_tokens=-1)


# ------------------------------------------------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("time", "microseconds"),
    [
        (0, 0), ("0", 0), (99_999_999_999, 99_999_999_999_000_000), (100_000_000_000, 100_000_000_000_000),
        ("99999999999", 99_999_999_999_000_000), ("100000000000", 100_000_000_000_000),
        ("1.000001", 1_000_001), ("1.0000019", 1_000_001), ("1.123456789", 1_123_456), ("1.5", 1_500_000),
        ("1795341600123456", 1_795_341_600_123_456), (1_795_341_600_123_456_789, 1_795_341_600_123_456),
        ("1795341600123.5", 1_795_341_600_123_500), ("1795341600123.1239", 1_795_341_600_123_123),
        (" 2026-11-22T10:00:00+01:00 ", 1_795_338_000_000_000), ("2026-11-22", 1_795_305_600_000_000),
        ("20261122", 1_795_305_600_000_000), ("20261122T100000Z", 1_795_341_600_000_000),
        ("1969-12-31T23:59:59Z", -1_000_000),
    ],
)  # fmt: skip
def test_times_are_read(time: Any, microseconds: int) -> None:
    assert parse_time(time) == microseconds


@pytest.mark.parametrize("number", [1_712_011_512_345, 1_701_010_111_212, 1_805_201_101_010, 17_120_115_123])
def test_a_number_in_a_text_is_never_read_as_a_date(number: int) -> None:
    assert parse_time(str(number)) == parse_time(number)
    assert parse_time(f"{number}.5") > parse_time(number) > 0


@pytest.mark.parametrize(
    "time", ["", " ", None, "soon", True, [1], -1, "-1", "1.", "1.1234567890", "10000000000000000", "1e9", "٣"]
)
def test_invalid_times_are_rejected(time: Any) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_time(time)


def test_a_json_fraction_is_read_as_a_number(tmp_path: Path) -> None:
    (row,), _ = read(tmp_path, line().replace('"time": 1', '"time": 20261122.5'))
    assert row.time == 20_261_122_500_000


# ------------------------------------------------------------------------------------------- ids and addresses


@pytest.mark.parametrize(
    ("request_id", "text"),
    [
        ("r-1", "r-1"), (" r-1 ", "r-1"), (7, "7"), ("x" * 512, "x" * 512), ("0x" + "a" * 63, "0x" + "a" * 63),
        ("0X" + "a" * 64, "0X" + "a" * 64), ("ü", "ü"), ("a" * 65, "a" * 65),
    ],
)  # fmt: skip
def test_an_id_of_other_text_is_hashed(request_id: Any, text: str) -> None:
    digest = sha256(text.encode()).digest()
    assert identify_request(request_id) == (digest, "0x" + digest.hex())


@pytest.mark.parametrize("spelling", ["0x" + "aB" * 32, "Cd" * 32, " " + "01" * 32 + " "])
def test_an_id_that_is_a_hash_is_used_as_spelled(spelling: str) -> None:
    assert identify_request(spelling) == (bytes.fromhex(spelling.strip()[-64:]), spelling.strip())


@pytest.mark.parametrize(
    ("request_id", "why"),
    [
        (None, "missing"), ("", "missing"), (True, "bad request id"), (1.5, "bad request id"),
        ("x" * 513, "513 characters, the limit is 512"), ("\ud800", "not Unicode"),
    ],
)  # fmt: skip
def test_invalid_ids_are_rejected(request_id: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        identify_request(request_id)


@pytest.mark.parametrize("spelling", [USER, USER.lower(), "0x" + USER[2:].upper(), f" {USER} "])
def test_an_address_is_recognised_in_each_spelling(tmp_path: Path, spelling: str) -> None:
    (row, again), _ = read(tmp_path, line(user=spelling) + line(user=spelling))
    assert (row.user, row.user_text) == (again.user, again.user_text) == (USER, spelling.strip())


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("0x" + "a1" * 19, "bad address: "), ("0x" + "a1" * 21, "bad address: "), ("a1" * 20, "bad address: "),
        ("0X" + "a1" * 20, "bad address: "), ("0x" + USER[2:].swapcase(), "fails its checksum"),
        ("0xA" + "b" * 39, "fails its checksum"), ("0xb" + "A" * 39, "fails its checksum"),
        ("0x" + "00" * 20, "the zero address"), (OTHER, "the provider cannot be its own user"),
        (OTHER.lower(), "the provider cannot be its own user"), (7, "bad address: '7'"), ("", "missing column: user"),
    ],
)  # fmt: skip
def test_invalid_users_are_rejected(tmp_path: Path, user: Any, why: str) -> None:
    rows, rejects = read(tmp_path, line(user=user) * 2, provider=OTHER)
    assert (rows, [why in reject.reason for reject in rejects]) == ([], [True, True])


def test_user_names_become_addresses(tmp_path: Path) -> None:
    users: Mapping[str, str] = {"acme": USER.lower(), "odd": "0x12", USER: OTHER}
    rows, rejects = read(tmp_path, "".join(line(user=name) for name in ("acme", " acme ", "odd", USER)), users=users)
    assert [(row.user, row.user_text) for row in rows] == [(USER, USER), (USER, USER), (OTHER, OTHER)]
    assert rejects[0].reason == "bad address: '0x12'"


# ------------------------------------------------------------------------------------------------------ lines


def test_blank_broken_and_long_lines_are_numbered(tmp_path: Path) -> None:
    long = "x" * (MAX_LINE_BYTES + usage._BLOCK)
    text = "\n".join(["", "  ", line().strip(), "broken", long, line().strip(), long, long, line().strip(), ""])
    rows, rejects = read(tmp_path, text)
    assert [row.line for row in rows] == [3, 6, 9]
    assert [(reject.line, reject.reason.split(":")[0]) for reject in rejects] == [
        (4, "broken JSON"),
        (5, "line too long"),
        (7, "line too long"),
        (8, "line too long"),
    ]
    assert [len(reject.text) for reject in rejects] == [6, 500, 500, 500]


def test_a_long_last_line_without_end_is_rejected_once(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, line() + "x" * (MAX_LINE_BYTES + 3 * usage._BLOCK))
    assert ([row.line for row in rows], [reject.line for reject in rejects]) == ([1], [2])


@pytest.mark.parametrize("cut", [1, 3, 7, 64])
def test_lines_do_not_depend_on_the_read_size(tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(line(id=f"r{number}") for number in range(5)) + "\n\nbroken\n" + line(id="last").rstrip("\n")
    whole = read(tmp_path, text)
    monkeypatch.setattr(usage, "_BLOCK", cut)
    assert read(tmp_path, text) == whole
    assert [row.line for row in whole[0]] == [1, 2, 3, 4, 5, 9]
    assert [reject.line for reject in whole[1]] == [8]


def test_the_longest_accepted_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "_BLOCK", 10)
    monkeypatch.setattr(usage, "MAX_LINE_BYTES", 200)
    fits = line(x="").rstrip("\n")
    fits = line(x="y" * (200 - len(fits)))
    assert len(fits) == 201
    rows, rejects = read(tmp_path, fits + line())
    assert ([row.line for row in rows], rejects) == ([1, 2], [])


def test_the_break_of_a_gzipped_log_is_reported(tmp_path: Path) -> None:
    packed = gzip.compress(line().encode() * 2)
    rows, rejects = read(tmp_path, packed[:-9], "u.jsonl.gz")
    assert [row.line for row in rows] in ([], [1, 2])
    assert ("is cut off" in rejects[-1].reason) is True
    rows, rejects = read(tmp_path, packed[:-8] + b"\0" * 8, "u.jsonl.gz")
    assert "is cut off" in rejects[-1].reason
    spoilt = packed[:20] + b"\xff\xff\xff\xff" + packed[24:]
    assert "is cut off" in read(tmp_path, spoilt, "u.jsonl.gz")[1][-1].reason


def test_a_byte_order_mark_is_skipped_only_at_the_start(tmp_path: Path) -> None:
    rows, rejects = read(tmp_path, b"\xef\xbb\xbf" + line().encode() + b"\xef\xbb\xbf" + line().encode())
    assert ([row.line for row in rows], [reject.line for reject in rejects]) == ([1], [2])
    rows, _ = read(tmp_path, b"\xef\xbb\xbf" + f"{HEADER}\nr,{USER},1,2,3\n".encode(), "u.csv")
    assert [row.input_tokens for row in rows] == [2]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_another_encoding_is_reported_with_the_command_that_fixes_it(tmp_path: Path, mark: bytes) -> None:
    with pytest.raises(UnusableLog, match="UTF-16") as caught:
        read(tmp_path, mark + line().encode())
    assert str(caught.value.next_step).startswith("iconv -f UTF-16 -t UTF-8 ")


def test_the_progress_through_a_log(tmp_path: Path) -> None:
    path = tmp_path / "u.jsonl"
    path.write_text(line() * 3)
    log = UsageLog(path)
    assert (log.size(), log.position()) == (len(line()) * 3, 0)
    rows = log.rows(lambda _: None)
    next(rows)
    assert log.position() == log.size()
    assert (len(list(rows)), log.position()) == (2, 0)
    with pytest.raises(UnusableLog):
        UsageLog(tmp_path / "absent.csv").size()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", "csv"), ("a.CSV", "csv"), ("a.csv.gz", "csv"), ("a.csv.GZ", "csv"), ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"), ("a.json", "jsonl"), ("a.JSON.gz", "jsonl"),
    ],
)  # fmt: skip
def test_the_format_follows_from_the_file_name(name: str, form: str) -> None:
    assert UsageLog(Path(name)).format == form


@pytest.mark.parametrize("name", ["a", "a.log", "a.gz", "csv", "a.csv.zip"])
def test_an_unknown_file_name_needs_the_format_option(name: str) -> None:
    with pytest.raises(UnusableLog) as caught:
        UsageLog(Path(name))
    assert "--format" in str(caught.value.next_step)
    assert UsageLog(Path(name), log_format="csv").format == "csv"


# -------------------------------------------------------------------------------------------------------- CSV


def test_csv_columns_may_be_in_any_order(tmp_path: Path) -> None:
    text = f" output_tokens , fee,time,user,x,id,input_tokens\r\n20,,1,{USER},?,r,10\r\n5,7,2,{USER},?,s,\r\n"
    rows, rejects = read(tmp_path, text, "u.csv")
    assert rejects == []
    assert [(row.input_tokens, row.output_tokens, row.fees, row.time) for row in rows] == [
        (10, 20, None, 1_000_000),
        (0, 5, (0, 7), 2_000_000),
    ]


def test_the_first_known_column_name_counts(tmp_path: Path) -> None:
    text = f"id,request_hash,address,user,time,input_tokens,output_tokens\nlater,first,x,{USER},1,2,3\n"
    (row,), _ = read(tmp_path, text, "u.csv")
    assert row.request_hash == sha256(b"first").digest()


@pytest.mark.parametrize("fee", ["fee", "output_fee"])
def test_a_csv_with_fees_needs_no_token_columns(tmp_path: Path, fee: str) -> None:
    other = ",input_fee" if fee == "output_fee" else ""
    text = f"id,user,time,{fee}{other}\nr,{USER},1,9{',1' if other else ''}\n"
    (row,), _ = read(tmp_path, text, "u.csv")
    assert (row.input_tokens, row.output_tokens, row.fees) == (0, 0, (1 if other else 0, 9))


@pytest.mark.parametrize(
    ("header", "missing", "hint"),
    [
        ("user,time,input_tokens,output_tokens", "id", "--map id=COLUMN or --map id=@row"),
        ("id,time,input_tokens,output_tokens", "user", "--map user=COLUMN"),
        ("id,user,input_tokens,output_tokens", "time", "--map time=COLUMN"),
        ("id,user,time,output_tokens", "input_tokens", "--map input_tokens=COLUMN"),
        ("id,user,time,input_tokens", "output_tokens", "--map output_tokens=COLUMN"),
        ("id,user,time,input_tokens,input_fee", "output_tokens", "--map output_tokens=COLUMN"),
        ("id,user,fee", "time", "--map time=COLUMN"),
    ],
)
def test_a_missing_column_is_reported_with_the_mapping_option(
    tmp_path: Path, header: str, missing: str, hint: str
) -> None:
    with pytest.raises(UnusableLog, match=f"no column for {missing}:") as caught:
        read(tmp_path, header + "\n", "u.csv")
    assert caught.value.next_step == hint
    assert str(caught.value.cause).startswith("Looked for ")


def test_a_mapped_column_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UnusableLog, match="no column for fee"):
        read(tmp_path, HEADER + "\n", "u.csv", Columns({"fee": "Price"}))
    assert read(tmp_path, HEADER + "\n", "u.csv") == ([], [])


@pytest.mark.parametrize("content", [b"", b"\xff,id\n", b'"id\n'])
def test_a_csv_without_a_header_is_reported(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnusableLog) as caught:
        read(tmp_path, content, "u.csv")
    assert caught.value.next_step


def test_quoted_fields_are_read_exactly_or_not_at_all(tmp_path: Path) -> None:
    rows = [
        f'"a,""b""",{USER},1,"2",3',
        f'"c","{USER}",1,2',
        f'd,"{USER}",1,2,3',
        f'e"f,{USER},1,2,3',
        f'"a"x,{USER},1,2,3',
        f"lost,{USER},1,2,3",
    ]
    good, bad = read(tmp_path, "\n".join([HEADER, *rows]) + "\n", "u.csv")
    assert [(row.line, row.request_hash) for row in good] == [
        (2, sha256(b'a,"b"').digest()),
        (4, sha256(b"d").digest()),
        (5, sha256(b'e"f').digest()),
    ]
    assert [(reject.line, reject.reason.split(":")[0]) for reject in bad] == [
        (3, "4 columns where the header has 5"),
        (6, "broken CSV"),
    ]
    assert "Nothing from this line on was read" in bad[1].reason


def test_a_row_that_the_csv_library_refuses_costs_only_itself(tmp_path: Path) -> None:
    """Its quotes are closed, so the next record begins in the next line."""
    long = "x" * 200_000
    rows = [f'a\rb,{USER},1,2,"3"', f'b,{USER},1,2,"3"', f'"{long}",{USER},1,2,3', f"{long[:500]},{USER},1,2,3"]
    good, bad = read(tmp_path, "\r\n".join([HEADER, *rows, ""]), "u.csv")
    assert [row.line for row in good] == [3, 5]
    assert [(reject.line, reject.reason.partition(":")[0]) for reject in bad] == [(2, "broken CSV"), (4, "broken CSV")]
    good, bad = read(tmp_path, f"{HEADER},note\na,{USER},1,2,3,{long}\n", "u.csv")  # without a quote, it is just long
    assert ([row.line for row in good], bad) == ([2], [])


def test_the_first_known_column_counts_even_where_it_is_empty(tmp_path: Path) -> None:
    _, (reject,) = read(tmp_path, f"request_hash,{HEADER}\n,r,{USER},1,2,3\n", "u.csv")
    assert reject.reason == "missing column: request id"
    (row,), _ = read(tmp_path, f"x,{HEADER}\n,r,{USER},1,2,3\n", "u.csv", Columns({"id": "x|id"}))
    assert row.request_hash == sha256(b"r").digest()


@pytest.mark.parametrize(
    ("last", "asked", "taken"),
    [
        (f"b,{USER},1,2,3", False, False), (f"b,{USER},1,2,3", True, True), (f"b,{USER},1,2", True, False),
        (f'b,"{USER},1,2,3', True, False), (f'b,"{USER},1,2,3', False, False), (f"b,{USER},1,2,3\n", False, True),
        (f"b,{USER},1,2,3\r\n", False, True),
    ],
)  # fmt: skip
def test_a_last_line_without_end_is_accepted_only_complete_and_on_request(
    tmp_path: Path, last: str, asked: bool, taken: bool
) -> None:
    rows, rejects = read(tmp_path, f"{HEADER}\na,{USER},1,2,3\n{last}", "u.csv", whole_last_line=asked)
    assert ([row.line for row in rows], [reject.line for reject in rejects]) == (([2, 3], []) if taken else ([2], [3]))
    assert all(reject.reason.startswith("incomplete last line") for reject in rejects)


# ------------------------------------------------------------------------------------------------------ streams


def test_a_stream_ends_when_too_many_others_went_on_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving_network.usage_logs.reader._STREAMS", 2)
    columns = Columns(last_of_stream=True)

    def outputs(*ids: str) -> list[tuple[int, int]]:
        """The lines that are taken of a log of these ids, with their tokens, in the order in which they are given."""
        text = "".join(line(id=name, output_tokens=number) for number, name in enumerate(ids, 1))
        rows, rejects = read(tmp_path, text, columns=columns)
        assert rejects == []
        return [(row.line, row.output_tokens) for row in rows]

    assert outputs("a", "b", "a", "b") == [(3, 3), (4, 4)]
    assert outputs("a", "b", "a", "c", "a") == [(2, 2), (4, 4), (5, 5)]
    assert outputs("a", "b", "c", "a") == [(1, 1), (2, 2), (3, 3), (4, 4)]


# ------------------------------------------------------------------------------------------------- rows as ids


def test_a_row_without_id_is_identified_by_place_and_content(tmp_path: Path) -> None:
    columns = Columns({"id": "@row"})
    text = f"user,time,input_tokens,output_tokens\n{USER},1,2,3\n{USER},1,2,3\n"
    rows, _ = read(tmp_path, text, "u.csv", columns)
    content = f"{USER},1,2,3".encode()
    for place, row in enumerate(rows, 2):
        assert row.request_hash == sha256(b"serving usage row\0%d\0%b" % (place, content)).digest()
        assert row.request_text == "0x" + row.request_hash.hex()
    dos, _ = read(tmp_path, text.replace("\n", "\r\n"), "u.csv", columns)
    assert [row.request_hash for row in dos] == [row.request_hash for row in rows]
    ended, _ = read(tmp_path, text.replace("3\n", "3,_\n").replace("tokens\n", "tokens,x\n"), "u.csv", columns)
    assert ended[0].request_hash == sha256(b"serving usage row\x002\0" + content + b",_").digest()
    (row,), _ = read(tmp_path, line(id=...), "u.jsonl", columns)
    assert row.request_hash == sha256(b"serving usage row\x001\0" + line(id=...).strip().encode()).digest()


# ----------------------------------------------------------------------------------------------------- columns


USUAL = {
    "id": ("request_hash", "requestHash", "request_id", "requestId", "id"),
    "user": ("user", "user_address", "userAddress", "address"),
    "time": ("time", "timestamp", "created_at", "createdAt", "created"),
    "input_tokens": ("input_tokens", "inputTokens", "prompt_tokens", "usage.prompt_tokens", "usage.input_tokens"),
    "output_tokens": (
        "output_tokens", "outputTokens", "completion_tokens", "usage.completion_tokens", "usage.output_tokens",
    ),
    "fee": ("fee",),
    "input_fee": ("input_fee", "inputFee"),
    "output_fee": ("output_fee", "outputFee"),
    "cached_tokens": ("cached_tokens", "cachedTokens"),
    "images": (),
    "seconds": (),
}  # fmt: skip


def test_the_known_column_names_match_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs/settlement.md").read_text("utf-8")
    for meaning, names in USUAL.items():
        assert Columns().candidates(meaning) == names
        assert all(name in page for name in names)
    assert Columns({"user": "customer"}).candidates("user") == ("customer",)


def test_a_dot_selects_a_field_of_an_object(tmp_path: Path) -> None:
    columns = Columns({"input_tokens": "a.b.c", "user": "who.is"})
    nested = line(input_tokens=..., user=..., a={"b": {"c": 7}}, who={"is": USER})
    assert [row.input_tokens for row in read(tmp_path, nested, columns=columns)[0]] == [7]
    plain = line(input_tokens=..., user=...)[:-2] + ', "a.b.c": 8, "who.is": "' + USER + '"}\n'
    assert [row.input_tokens for row in read(tmp_path, plain, columns=columns)[0]] == [8]
    for odd in ({"b": 7}, 7, {"b": {"c": None}}, {}):
        _, (reject,) = read(tmp_path, line(input_tokens=..., user=..., a=odd, who={"is": USER}), columns=columns)
        assert "missing column: input tokens" in reject.reason


def test_assignments_extend_a_mapping() -> None:
    columns = Columns({"user": "customer"}).with_assignments([" time = T ", "id=@row", "user=a=b"])
    assert columns.named == {"user": "a=b", "time": "T", "id": "@row"}
    assert columns.id_is_row
    assert not Columns({"id": "row"}).id_is_row


@pytest.mark.parametrize("assignment", ["user", "colour=red", "user=", "user=@row", "id=@line", "id=@", "=x"])
def test_an_invalid_assignment_is_reported_with_the_syntax(assignment: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Columns().with_assignments([assignment])
    assert caught.value.next_step
    if "=" not in assignment:
        assert "--map user=customer" in str(caught.value.next_step)


def test_column_and_user_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[columns]\nuser = "customer"\nid = "@row"\n')
    assert load_columns(tmp_path / "c.toml") == Columns({"user": "customer", "id": "@row"})
    (tmp_path / "u.toml").write_text(f'[users]\nacme = "{USER}"\n')
    assert load_users(tmp_path / "u.toml") == {"acme": USER}
    (tmp_path / "plain.toml").write_text(f'acme = "{USER}"\n')
    assert load_users(tmp_path / "plain.toml") == {"acme": USER}
    (tmp_path / "u.JSON").write_text(json.dumps({"acme": USER}))
    assert load_users(tmp_path / "u.JSON") == {"acme": USER}


@pytest.mark.parametrize(
    ("name", "content"),
    [("u.toml", "acme = 1"), ("u.toml", "[users]\nacme = 1"), ("u.toml", "users = 1"), ("u.json", '{"acme": 1}'),
     ("u.json", '{"acme": "0x", "other": 1}'),
     ("u.json", "[]"), ("u.json", "{"), ("u.toml", "["), ("absent.json", None), ("absent.toml", None)],
)  # fmt: skip
def test_invalid_user_files_are_refused(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_users(tmp_path / name)
    assert caught.value.next_step


def test_a_column_file_may_hold_every_option(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        "skip = ['a=b']\nonly = ['c=d']\nignore = ['e']\nabsent = ['-']\nrows = 'f'\nuser = 'g'\nstart = 'h'\n"
        "time_unit = 'ms'\nlast_of_stream = true\nid_with_time = true\n[columns]\nid = '@row'\n"
    )
    expected = Columns({"id": "@row"}, ("a=b",), ("c=d",), ("e",), ("-",), "f", "g", "h", "ms", True, True)
    assert load_columns(tmp_path / "c.toml") == expected


@pytest.mark.parametrize("key", ["named", "colour"])
def test_an_unknown_key_of_a_column_file_is_named(tmp_path: Path, key: str) -> None:
    (tmp_path / "c.toml").write_text(f"{key} = 'x'\n[columns]\n")
    with pytest.raises(ConfigurationError, match=f"'{key}' is not a known key"):
        load_columns(tmp_path / "c.toml")


def test_only_counts_are_sums(tmp_path: Path) -> None:
    row = GOOD | {"a+b": OTHER, "c+d": 5, "e+f": "id"}
    ((one,), _), _ = both(tmp_path, row, Columns({"user": "a+b", "time": "c+d", "id": "e+f"}))
    assert (one.user, one.time, one.request_hash) == (OTHER, 5_000_000, sha256(b"id").digest())


def test_presets_are_listed_in_the_order_of_their_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order is in which the file system lists them."""
    listed = sorted(
        files("serving_network.usage_logs").joinpath("presets").iterdir(), key=lambda one: one.name, reverse=True
    )
    folder = SimpleNamespace(iterdir=lambda: listed)
    package = SimpleNamespace(joinpath=lambda _: folder)
    monkeypatch.setattr(f"{Columns.__module__}.files", lambda _: package)
    assert [f"{name}.toml" for name in unwrap(presets)()] == [one.name for one in reversed(listed)]


@pytest.mark.parametrize(
    "content",
    [
        "", "columns = 1", "[columns]\nuser = 1", "[columns]\nuser = 'x'\ntime = 1", "[columns]\ncolour = 'x'",
        "[", None,
        "[columns]\nuser = 'x'\n[colour]", "named = 1\n[columns]", "rows = ['a']\n[columns]",
        "absent = 'ab'\n[columns]",
        "absent = ['a', 1]\n[columns]", "last_of_stream = 1\n[columns]", "skip = ['x']\n[columns]",
    ],
)  # fmt: skip
def test_invalid_column_files_are_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "c.toml").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_columns(tmp_path / "c.toml")
    assert caught.value.next_step


# ---------------------------------------------------------------------------------------------------- requests


def test_an_id_joined_with_its_time_is_spelled_as_it_always_was() -> None:
    row = UsageRow(1, b"\x11" * 32, "a", USER, USER, 1_795_000_000_000_000, 1, 2, None, id_with_time=True)
    joined = sha256(b"serving usage id at time\0" + b"\x11" * 32 + b"1795000000000000").digest()
    assert row.at_its_time() == row._replace(request_hash=joined, request_text="0x" + joined.hex())


@pytest.mark.parametrize(
    ("change", "continues"),
    [
        ({}, True), ({"output_tokens": 3}, True), ({"output_tokens": 1}, False), ({"input_tokens": 2}, False),
        ({"user": OTHER}, False), ({"request_hash": bytes(32)}, False), ({"fees": (0, 1)}, False),
    ],
)  # fmt: skip
def test_a_row_continues_one_that_reported_no_more(change: dict[str, Any], continues: bool) -> None:
    earlier = UsageRow(1, b"\x11" * 32, "a", USER, USER, 1, 1, 2, None)
    assert earlier._replace(**change).continues(earlier) is continues
    priced = earlier._replace(fees=(0, 1))
    assert not priced.continues(priced)


def test_an_id_may_be_any_text_that_is_not_blank(tmp_path: Path) -> None:
    rows, _ = read(tmp_path, line(id="_") + line(id=7))
    assert [row.request_hash for row in rows] == [sha256(b"_").digest(), sha256(b"7").digest()]
    values: list[Any] = [None, "", " ", "_", 0, False, []]
    assert [is_absent(one) for one in values] == [True] * 3 + [False] * 4


def test_a_number_too_long_to_be_written_is_described() -> None:
    assert (text_of(10**5000), text_of([1])) == ("a number with thousands of digits", "[1]")


# ------------------------------------------------------------------------------------------------ uncommon values


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fee": "1e29"}, "fee out of range: '1e29', the limit is 19807040628566084398385987583"),
        ({"fee": -1}, "negative fee: '-1'"),
        ({"fee": "1.5"}, "fractional fee: '1.5'. Fees are whole wei; --ignore COLUMN prices the tokens instead"),
        ({"fee": 2 * MAX_FEE + 1, "input_fee": MAX_FEE, "output_fee": MAX_FEE}, "fee out of range: "),
        ({"input_tokens": "-x"}, "input tokens are not a whole number: '-x'"),
        ({"input_tokens": "-"}, "input tokens are not a whole number: '-'"),
        ({"time": " 1712011512345"}, "bad time: ' 1712011512345'"),
        ({"time": True}, "bad time: 'True'"), ({"time": [1]}, "bad time: '[1]'"), ({"time": "1 2"}, "bad time: '1 2'"),
    ],
)  # fmt: skip
def test_uncommon_values_are_rejected_with_their_reason(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    found = reason(tmp_path, **changes)
    assert found.startswith(why)
    assert ("--ignore" in found) is ("--ignore" in why)


def test_the_largest_fees_add_up(tmp_path: Path) -> None:
    (row,), _ = read(tmp_path, line(fee=2 * MAX_FEE, input_fee=MAX_FEE, output_fee=MAX_FEE))
    assert row.fees == (MAX_FEE, MAX_FEE)


@pytest.mark.parametrize(
    ("time", "microseconds"),
    [
        (Fraction("20261128.05"), 20_261_128_050_000), (Fraction("1.0000019"), 1_000_001), ("5.", None),
        ("1795000000123.4567", 1_795_000_000_123_456), ("1795000000123", 1_795_000_000_123_000), ("0", 0),
        ("1795000000123456", 1_795_000_000_123_456), ("1795000000123456789", 1_795_000_000_123_456),
        ("99999999999", 99_999_999_999_000_000), ("100000000000", 100_000_000_000_000), ("12345678901234", None),
    ],
)  # fmt: skip
def test_a_number_is_a_time_in_the_unit_of_its_length(time: Any, microseconds: int | None) -> None:
    if microseconds is None:
        with pytest.raises(BadRow):
            parse_time(time)
    else:
        assert parse_time(time) == microseconds


def test_offsets_reach_to_the_last_moment_of_the_calendar() -> None:
    latest = (datetime.max.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_offset(str(latest), "us") == latest
    assert (parse_offset(" 45 ", "s"), parse_offset("1.5", "ms"), parse_offset(Fraction("999"), "ns")) == (
        45_000_000, 1500, 0,
    )  # fmt: skip
    for odd, why in (
        (str(latest + 1), "too far in the future"), (None, "missing column: time"), (" ", "missing column: time"),
        (True, "'True' is not a number of us"), ([1], "is not a number of us"), ("-1", "is not a number of us"),
    ):  # fmt: skip
        with pytest.raises(BadRow, match=why):
            parse_offset(odd, "us")


# ------------------------------------------------------------------------------------------------ where values are


def both(directory: Path, row: dict[str, Any], columns: Columns) -> list[tuple[list[UsageRow], list[Reject]]]:
    """What is read of a row as JSON and as CSV."""
    separated = io.StringIO()
    csv.writer(separated, lineterminator="\n").writerows([row, row.values()])
    return [
        read(directory, json.dumps(row) + "\n", columns=columns),
        read(directory, separated.getvalue(), "u.csv", columns),
    ]


@pytest.mark.parametrize(
    ("text", "columns", "tokens"),
    [
        ('{"out": 5}', {"output_tokens": "note.out"}, 5),
        (' {"out": 5} ', {"output_tokens": "note.out"}, 5),
        ('\u2003{"out": 5}\u2003', {"output_tokens": "note.out"}, 5),
        ('{"text": "two\nlines", "out": 5}', {"output_tokens": "note.out"}, 5),
        ("text", {"output_tokens": "note.out|output_tokens"}, 20),
        ("7", {"output_tokens": "note"}, 7),
        ("7", {"output_tokens": "note+output_tokens"}, 27),
        ("", {"output_tokens": "note|output_tokens"}, 20),
        ("-", {"output_tokens": "note|output_tokens"}, 20),
        (" - ", {"output_tokens": "note|output_tokens"}, 20),
        ("-", {"cached_tokens": "note"}, 20),
    ],
)
def test_a_field_is_the_first_candidate_with_a_value(
    tmp_path: Path, text: str, columns: dict[str, str], tokens: int
) -> None:
    for rows, rejects in both(tmp_path, GOOD | {"note": text}, Columns(columns, absent=("-", "n/a"))):
        assert ([row.output_tokens for row in rows], rejects) == ([tokens], [])


def test_an_absent_value_counts_as_none_in_the_usual_columns_too(tmp_path: Path) -> None:
    for rows, rejects in both(tmp_path, GOOD | {"cached_tokens": "-", "fee": " - "}, Columns(absent=("-",))):
        assert ([(row.cached_tokens, row.fees) for row in rows], rejects) == ([(0, None)], [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a":' * 101 + "1" + "}" * 101, "JSON nested more than 100 levels deep"),
        ('{"out": 1, "out": 2}', "duplicate field: it is ambiguous which value is meant"),
        ('{"out": NaN}', "NaN is not a number"),
        ('{"out"', "broken JSON in a column: "),
    ],
)
def test_a_column_with_broken_json_is_rejected(tmp_path: Path, text: str, why: str) -> None:
    _, (reject,) = read(tmp_path, line(note=text), columns=Columns({"output_tokens": "note.out"}))
    assert reject.reason.startswith(why)


@pytest.mark.parametrize("condition", ["note=text", " note = TEXT "])
@pytest.mark.parametrize("text", ["text", " Text "])
def test_conditions_ignore_case_and_blanks(tmp_path: Path, condition: str, text: str) -> None:
    for columns, count in (Columns(skip=(condition,)), 0), (Columns(only=(condition,)), 1):
        for rows, rejects in both(tmp_path, GOOD | {"note": text}, columns):
            assert (len(rows), rejects) == (count, [])


def test_names_of_columns_that_look_like_something_else(tmp_path: Path) -> None:
    assert csv_column(".x", ["", "id"]) is None
    for rows, _ in both(tmp_path, {"7": "named"} | GOOD, Columns({"id": "7"})):  # only counts may be constant
        assert [row.request_hash for row in rows] == [sha256(b"named").digest()]
    for rows, _ in both(tmp_path, GOOD | {"\u0663": 5}, Columns({"images": "\u0663"})):
        assert [row.images for row in rows] == [5]
    for place, (rows, _) in enumerate(both(tmp_path, {"@row": "x"} | GOOD, Columns({"id": "@row"})), 1):
        assert rows[0].request_hash not in (sha256(b"x").digest(), sha256(b"r").digest())
        assert rows[0].line == place
    dotted = {"usage.prompt_tokens": 5, "usage": {"prompt_tokens": 7}}
    (row,), _ = read(tmp_path, line(input_tokens=..., **dotted))
    assert row.input_tokens == 5
    _, (reject,) = read(tmp_path, line(request_id=""))
    assert reject.reason == "missing column: request id"
    with pytest.raises(UnusableLog, match="no column for input_tokens"):
        read(tmp_path, HEADER + "\n", "u.csv", Columns({"input_tokens": "a+b"}))
