# SPDX-License-Identifier: Apache-2.0
"""Where a log is read on: only where it still begins with what was read, and is read in the same way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

from serving_network.messages.usage import Reading, Reject
from serving_network.usage_logs.columns import Columns
from serving_network.usage_logs.reader import UnusableLog, UsageLog
from serving_network.usage_logs.records import MAX_LINE_BYTES

USER, OTHER = (to_checksum_address(bytes([number]) * 20) for number in (161, 178))
LINES = 700
"""Lines of 300 bytes: several of the blocks whose hashes are kept."""


def line(number: int) -> str:
    row = {"id": f"r-{number:04}", "user": USER, "time": 1, "input_tokens": 10, "output_tokens": 20}
    return json.dumps(row | {"note": "x"}).replace('"x"', '"x').ljust(297, "x") + '"}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "u.jsonl").write_text("".join(map(line, range(LINES))))
    return tmp_path / "u.jsonl"


def refused(reject: Reject) -> None:
    pytest.fail(reject.reason)


def read(log: UsageLog) -> tuple[list[int], Reading]:
    """The lines of the rows, and how far the log was read."""
    return [row.line for row in log.rows(refused)], log.reading()


def change(path: Path, line_number: int) -> None:
    """Change a byte near the end of a line."""
    with path.open("r+b") as file:
        file.seek(300 * line_number - 10)
        file.write(b"y")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (1, "its first line or the options for reading it changed"),
        (2, "lines that were read before changed"),
        (218, "lines that were read before changed"),  # the last one in the first block
        (LINES - 217, "lines that were read before changed"),  # the first one in the last block
        (LINES, "lines that were read before changed"),
        (LINES + 1, None),
    ],
)
def test_a_change_in_the_first_or_the_last_block_is_noticed(path: Path, changed: int, why: str | None) -> None:
    _, earlier = read(UsageLog(path))
    assert (earlier.offset, earlier.line) == (300 * LINES, LINES + 1)
    with path.open("a") as file:
        file.write(line(LINES))
    change(path, changed)
    log = UsageLog(path)
    assert log.resume(earlier) == why
    assert read(log)[0] == list(range(LINES + 1 if why is None else 1, LINES + 2))


def test_the_order_of_the_users_does_not_matter_but_their_addresses_do(path: Path) -> None:
    users = {USER: USER, "acme": OTHER}
    _, earlier = read(UsageLog(path, users=users))
    assert UsageLog(path, users=dict(reversed(users.items()))).resume(earlier) is None
    changed = "its first line or the options for reading it changed"
    assert UsageLog(path, users=users | {"acme": USER}).resume(earlier) == changed
    assert UsageLog(path).resume(earlier) == changed


def test_a_log_without_an_earlier_position_is_read_whole(path: Path) -> None:
    log = UsageLog(path)
    _, earlier = read(log)
    assert log.resume(earlier) is None
    assert log.resume(earlier._replace(offset=0)) == ""
    assert len(read(log)[0]) == LINES
    again = UsageLog(path, reread=True)
    assert again.resume(earlier) == ""
    assert len(read(again)[0]) == LINES


def test_the_position_is_known_only_after_the_last_row(path: Path) -> None:
    log = UsageLog(path)
    nothing = Reading(log.name, "", 0, 1, b"", b"")
    assert (log.reading(), log.left_out) == (nothing, 0)
    read(log)
    rows = log.rows(refused)
    next(rows)
    assert log.reading() == nothing


def test_rows_that_are_left_out_are_counted_anew_in_each_reading(path: Path) -> None:
    log = UsageLog(path, Columns(skip=("id=r-0000", "id=r-0001")))
    for _ in range(2):
        assert len(read(log)[0]) == LINES - 2
        assert log.left_out == 2


def test_a_log_that_changes_between_the_check_and_the_reading_is_refused(path: Path) -> None:
    log = UsageLog(path)
    _, earlier = read(log)
    assert log.resume(earlier) is None
    change(path, LINES)
    with pytest.raises(UnusableLog, match="was changed while it was read") as caught:
        read(log)
    assert caught.value.next_step == "Run again."


def test_a_log_that_is_gone_is_reported(path: Path) -> None:
    log = UsageLog(path)
    _, earlier = read(log)
    path.unlink()
    with pytest.raises(UnusableLog, match="cannot be read"):
        log.resume(earlier)


def test_a_long_line_of_csv_ends_the_reading_of_a_continued_log_too(tmp_path: Path) -> None:
    path = tmp_path / "u.csv"
    row = f"r,{USER},1,10,20\n"
    path.write_text("id,user,time,input_tokens,output_tokens\n" + row)
    log = UsageLog(path)
    _, earlier = read(log)
    with path.open("a") as file:
        file.write("x" * (MAX_LINE_BYTES + (1 << 18)) + "\n" + row)
    rejects: list[Reject] = []
    assert log.resume(earlier) is None
    assert list(log.rows(rejects.append)) == []
    assert "Nothing from this line on was read" in rejects[0].reason
