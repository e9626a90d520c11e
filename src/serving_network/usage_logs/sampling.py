# SPDX-License-Identifier: Apache-2.0
"""Read the first rows of a log, and find the preset for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from serving_network.messages.usage import Reject, UsageRow
from serving_network.usage_logs.columns import Columns, presets
from serving_network.usage_logs.reader import Format, UnusableLog, UsageLog


class Sample(NamedTuple):
    """The first rows and rejects of a log, and how many rows before them were left out."""

    rows: list[UsageRow]
    rejects: list[Reject]
    left_out: int


class _Enough(Exception):
    """The sample is complete."""


def sample(log: UsageLog, limit: int) -> Sample:
    """The first rows and rejects, `limit` in all. Raises UnusableLog."""
    rows: list[UsageRow] = []
    rejects: list[Reject] = []

    def add(one: Reject) -> None:
        rejects.append(one)
        if len(rows) + len(rejects) >= limit:
            raise _Enough

    try:
        for row in log.rows(add):
            rows.append(row)
            if len(rows) + len(rejects) >= limit:
                break
    except _Enough:
        pass
    return Sample(rows, rejects, log.left_out)


def fitting_preset(path: Path, log_format: Format | None = None) -> str | None:
    """The preset whose columns the log has; None if it has those of none."""
    best, most = None, 0
    for name, (columns, recognised_by) in presets().items():
        try:
            found = UsageLog(path, _readable(columns), log_format=log_format).column_names()
        except UnusableLog:
            continue
        fits = all(any(column in found for column in one.split("|")) for one in recognised_by)
        if fits and len(recognised_by) > most:
            best, most = name, len(recognised_by)
    return best


def _readable(columns: Columns) -> Columns:
    """The columns without what a preset leaves to the options."""
    return replace(columns, time_unit="")
