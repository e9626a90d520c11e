# SPDX-License-Identifier: Apache-2.0
"""The exports of other tools: each preset reads its sample, and every rule of a preset can be given as an option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from serving_network.cli.parts.log_options import PRESET_HELP
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.messages.usage import Reject, UsageRow
from serving_network.usage_logs.columns import Columns, load_columns, load_users, preset, presets
from serving_network.usage_logs.reader import UnusableLog, UsageLog
from serving_network.usage_logs.sampling import fitting_preset, sample

SAMPLES: Final = Path(__file__).parent / "usage_logs"
ANN, BEN = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
START: Final = {"start": "2026-11-28T00:00Z", "user": ANN}
EXPECTED: Final[list[tuple[str, str, dict[str, str], list[tuple[str, int, int, int]], int]]] = [
    ("litellm", "litellm_spendlogs.csv", {}, [(ANN, 1500, 40, 1024), (BEN, 120, 45, 0)], 2),
    ("litellm", "litellm_spendlogs.json", {}, [(ANN, 1500, 40, 1024)], 1),
    ("openrouter", "openrouter_activity.csv", {}, [(ANN, 3074, 120, 1024), (BEN, 74, 12, 0)], 0),
    ("langfuse", "langfuse_observations.jsonl", {}, [(ANN, 184, 45, 64)], 1),
    ("langfuse", "langfuse_observations.csv", {}, [(ANN, 184, 45, 64)], 1),
    ("openai", "openai_responses.jsonl", {}, [(ANN, 100, 20, 64), (ANN, 10, 2, 0)], 1),
    ("openai-batch", "openai_batch.jsonl", {"user": ANN}, [(ANN, 20, 10, 0)], 2),
    ("new-api", "newapi_logs.json", {}, [(ANN, 100, 20, 0)], 0),
    ("vllm", "vllm.jsonl", {}, [(ANN, 21, 8, 0), (BEN, 64, 16, 48)], 0),
    ("ollama", "ollama.jsonl", {}, [(ANN, 11, 18, 8), (ANN, 0, 18, 0)], 1),
    ("burstgpt", "burstgpt.csv", START, [(ANN, 472, 18, 0), (ANN, 1087, 230, 0)], 1),
    ("mooncake", "mooncake_trace.jsonl", START, [(ANN, 6955, 52, 0), (ANN, 6472, 26, 0)], 0),
    ("azure", "azure_trace.csv", {"user": ANN}, [(ANN, 374, 44, 0), (ANN, 396, 109, 0)], 0),
    ("0g-broker", "broker_requests.tsv", {}, [(ANN, 40, 6, 0)], 1),
]


def named(tool: str, **changes: Any) -> Columns:
    columns = preset(tool)
    return Columns(**{name: getattr(columns, name) for name in Columns.__slots__} | changes)


def read(path: Path, columns: Columns, **options: Any) -> tuple[list[UsageRow], list[Reject], int]:
    rejects: list[Reject] = []
    log = UsageLog(path, columns, **options)
    return list(log.rows(rejects.append)), rejects, log.left_out


def write(directory: Path, *rows: dict[str, Any], name: str = "u.jsonl") -> Path:
    path = directory / name
    path.write_text("".join(json.dumps({"id": "r", "user": ANN, "time": 1} | row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(("tool", "name", "given", "expected", "left_out"), EXPECTED)
def test_a_preset_reads_the_export_of_its_tool(
    tool: str, name: str, given: dict[str, str], expected: list[tuple[str, int, int, int]], left_out: int
) -> None:
    users = load_users(SAMPLES / "users.json") if tool in ("openrouter", "new-api") else None
    rows, rejects, out = read(SAMPLES / name, named(tool, **given), users=users)
    assert rejects == []
    assert [(row.user, row.input_tokens, row.output_tokens, row.cached_tokens) for row in rows] == expected
    assert out == left_out
    assert fitting_preset(SAMPLES / name) == tool
    if tool == "0g-broker":
        assert rows[0].fees == (4000, 600)


def test_every_preset_has_a_sample_and_is_named_in_the_help() -> None:
    assert {tool for tool, *_ in EXPECTED} == set(presets())
    assert all(name in PRESET_HELP for name in presets())
    with pytest.raises(InvalidInput) as caught:
        preset("lite")
    assert "litellm" in str(caught.value.next_step)


def test_times_are_offsets_from_the_start() -> None:
    burst, _, _ = read(SAMPLES / "burstgpt.csv", named("burstgpt", **START))
    moon, _, _ = read(SAMPLES / "mooncake_trace.jsonl", named("mooncake", **START))
    begin = 1_795_824_000_000_000
    assert [row.time - begin for row in (*burst, *moon)] == [5_000_000, 45_000_000, 27_482_000, 30_535_000]
    with pytest.raises(InvalidInput) as caught:
        UsageLog(SAMPLES / "burstgpt.csv", preset("burstgpt"))
    assert "--start" in str(caught.value.next_step)
    with pytest.raises(InvalidInput):
        UsageLog(SAMPLES / "burstgpt.csv", named("burstgpt", start="noon"))


@pytest.mark.parametrize("offset", [-1, "soon", True, "1e99", None])
def test_an_offset_that_is_no_number_is_rejected(tmp_path: Path, offset: Any) -> None:
    path = write(tmp_path, {"time": offset, "input_tokens": 1, "output_tokens": 1})
    assert "time" in read(path, Columns(start="2026-11-28"))[1][0].reason


def test_a_fee_in_dollars_is_rejected_with_a_way_out_and_ignored_on_request() -> None:
    path = SAMPLES / "fee_dollars.csv"
    rows, (reject,), _ = read(path, Columns())
    assert (rows, reject.reason) == (
        [], "fractional fee: '0.0012'. Fees are whole wei; --ignore COLUMN prices the tokens instead",
    )  # fmt: skip
    (row,), rejects, _ = read(path, Columns(ignore=("fee",)))
    assert (row.fees, row.input_tokens, rejects) == (None, 10, [])


def test_whole_numbers_of_a_spreadsheet_are_read() -> None:
    rows, (reject,), _ = read(SAMPLES / "excel_sci.csv", Columns())
    assert [(row.input_tokens, row.output_tokens) for row in rows] == [(120_000, 5), (120, 5)]
    assert reject.reason == "missing column: input tokens"


def test_columns_fall_back_and_add_up(tmp_path: Path) -> None:
    columns = Columns({"user": "a|b.c", "input_tokens": "x+y.z|w", "output_tokens": "o|7"}, absent=("nobody",))
    path = write(
        tmp_path,
        {"a": "nobody", "b": {"c": BEN}, "x": 1, "y": {"z": "2.0"}},
        {"a": ANN, "b": {"c": BEN}, "y": '{"z": 5}', "o": 0},
        {"a": "", "b": {"c": BEN}, "w": 9},
        {"a": ANN, "x": 1, "y": {"z": -1}},
        {"a": ANN, "x": 1, "y": "{broken"},
        {"a": ANN},
    )
    rows, rejects, _ = read(path, columns)
    assert [(row.user, row.input_tokens, row.output_tokens) for row in rows] == [(BEN, 3, 7), (ANN, 5, 0), (BEN, 9, 7)]
    assert [one.reason.split(":")[0] for one in rejects] == [
        "negative input tokens", "broken JSON in a column", "missing column",
    ]  # fmt: skip
    table = tmp_path / "u.csv"
    table.write_text(f'id,time,a,b,x,y,o\nr,1,,"{{""c"": ""{BEN}""}}",1,"{{""z"": 2}}",4\n')
    (row,), rejects, _ = read(table, columns)
    assert (row.user, row.input_tokens, row.output_tokens, rejects) == (BEN, 3, 4, [])


def test_rows_are_left_out_by_the_value_of_a_column(tmp_path: Path) -> None:
    tokens = {"input_tokens": 1, "output_tokens": 1}
    path = write(
        tmp_path,
        tokens | {"type": "Span", "ok": True},
        tokens | {"type": "gen", "ok": True},
        tokens | {"type": "GEN", "ok": False},
        tokens | {"ok": True, "type": ""},
        tokens | {"type": "emb", "ok": None},
    )

    def lines(**rules: tuple[str, ...]) -> list[int]:
        rows, rejects, left_out = read(path, Columns(**rules))  # type: ignore[arg-type]
        assert (len(rows) + left_out, rejects) == (5, [])
        return [row.line for row in rows]

    assert lines(skip=("type=span",)) == [2, 3, 4, 5]
    assert lines(skip=("type=", "ok=")) == [1, 2, 3]
    assert lines(only=("type=GEN", "type=emb")) == [2, 3, 5]
    assert lines(only=("type=gen",), skip=("ok=false",)) == [2]
    with pytest.raises(UnusableLog, match="no column kind"):
        read(SAMPLES / "semicolon.csv", Columns(skip=("kind=x",)))


def test_one_user_pays_for_a_whole_log(tmp_path: Path) -> None:
    path = write(tmp_path, {"user": BEN, "input_tokens": 1, "output_tokens": 1})
    assert read(path, Columns(user=ANN.lower()))[0][0].user == ANN
    assert read(path, Columns(user="acme"), users={"acme": BEN})[0][0].user == BEN
    for bad in ("acme", "0x12", "0x" + "0" * 40):
        with pytest.raises(InvalidInput, match="cannot be used"):
            UsageLog(path, Columns(user=bad))


def test_other_units_are_read_where_they_are_mapped(tmp_path: Path) -> None:
    columns = Columns({"images": "n", "seconds": "duration"})
    path = write(
        tmp_path,
        {"n": 3, "output_tokens": 0, "input_tokens": 0},
        {"duration": "12.0"},
        {"n": "1.5"},
        {"input_tokens": 5, "output_tokens": 1, "cached_tokens": 6},
    )
    rows, rejects, _ = read(path, columns)
    assert [(row.images, row.seconds) for row in rows] == [(3, 0), (0, 12)]
    assert [one.reason.split(":")[0] for one in rejects] == [
        "fractional images", "6 cached tokens of 5 input tokens",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["skip = ['x']", "skip = 'a=b'", "colour = 1", "last_of_stream = 'yes'", "time_unit = 'h'", "only = ['=x']"],
)
def test_an_invalid_rule_in_a_columns_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.toml").write_text(f"{text}\n[columns]\n")
    with pytest.raises(ConfigurationError) as caught:
        load_columns(tmp_path / "c.toml")
    assert caught.value.next_step


@pytest.mark.parametrize("column", ["a|", "|a", "a+", "+", "a||b"])
def test_half_a_rule_is_no_column(column: str) -> None:
    with pytest.raises(InvalidInput, match="is not a valid column"):
        Columns({"input_tokens": column})


def test_a_sample_ends_at_its_limit(tmp_path: Path) -> None:
    good, bad = {"input_tokens": 1, "output_tokens": 1}, {"input_tokens": -1, "output_tokens": 1}
    path = write(tmp_path, good, bad, *[bad] * 100)
    found = sample(UsageLog(path), 5)
    assert (len(found.rows), len(found.rejects)) == (1, 4)
    assert fitting_preset(path) is None


def test_of_the_rows_of_one_stream_the_last_is_taken(tmp_path: Path) -> None:
    (row,), rejects, _ = read(SAMPLES / "stream_usage.jsonl", preset("openai"))
    assert (row.line, row.input_tokens, row.output_tokens, rejects) == (3, 50, 400, [])

    def chunk(name: str, output: int, user: str = ANN) -> dict[str, Any]:
        return {"id": name, "user": user, "input_tokens": 5, "output_tokens": output}

    path = write(
        tmp_path, chunk("a", 1), chunk("b", 1), chunk("a", 2), chunk("b", 9), chunk("a", 2), chunk("a", 3, BEN)
    )
    rows, rejects, _ = read(path, Columns(last_of_stream=True))
    assert [(row.line, row.output_tokens) for row in rows] == [(5, 2), (4, 9), (6, 3)]
    assert rejects == []
