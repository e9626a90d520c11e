# SPDX-License-Identifier: Apache-2.0
"""The results of the mutation tests of Python code as tables, as docs/security/mutation-python.md shows them."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutation.python_mutants import Mutant

REASONS: Final = Path(__file__).with_name("python_survivors.toml")


class Judged(NamedTuple):
    """A mutant of the code as it is, and its outcome; empty if it was not run."""

    mutant: Mutant
    outcome: str


def written(results: Mapping[str, Sequence[Judged]]) -> str:
    """A table by file, then the survivors that a test should notice, then those that behave the same."""
    same = _reasons()
    lines = [
        "| file | mutants | killed | same behaviour | survived | not run | share killed |",
        "|---|---|---|---|---|---|---|",
    ]
    total: Counter[str] = Counter()
    for subject, judged in results.items():
        counts = Counter(_outcome(subject, one, same) for one in judged)
        total += counts
        lines.append(_row(subject, counts))
    lines += [_row("all", total), "", "## Survivors that a test should notice", ""]
    lines += ["| where | function | fault |", "|---|---|---|"]
    lines += [_where(subject, one.mutant) for subject, one in _those(results, same, "survived")]
    lines += ["", "## Survivors that behave the same", "", "| where | function | fault | reason |", "|---|---|---|---|"]
    lines += [
        f"{_where(subject, one.mutant)} {same[_known_as(subject, one.mutant)]} |"
        for subject, one in _those(results, same, "same")
    ]
    return "\n".join(lines) + "\n"


def _reasons() -> dict[tuple[str, str], str]:
    """Why a mutant that survives is no gap in the tests, by file and fault."""
    return {
        (subject, fault): group["reason"]
        for group in tomllib.loads(REASONS.read_text())["group"]
        for subject, faults in group["faults"].items()
        for fault in faults
    }


def _known_as(subject: str, mutant: Mutant) -> tuple[str, str]:
    """How python_survivors.toml names a mutant: its file, and its function and fault."""
    return subject, f"{mutant.place}: {mutant.fault}" if mutant.place else mutant.fault


def _outcome(subject: str, one: Judged, same: Mapping[tuple[str, str], str]) -> str:
    if one.outcome in ("", "killed"):
        return one.outcome or "not run"
    return "same" if _known_as(subject, one.mutant) in same else "survived"


def _those(
    results: Mapping[str, Sequence[Judged]], same: Mapping[tuple[str, str], str], outcome: str
) -> Iterator[tuple[str, Judged]]:
    for subject, judged in results.items():
        for one in judged:
            if _outcome(subject, one, same) == outcome:
                yield subject, one


def _row(subject: str, counts: Counter[str]) -> str:
    killed, survived = counts["killed"], counts["survived"]
    share = f"{100 * killed / (killed + survived):.1f} %" if killed + survived else "-"
    numbers = counts.total(), killed, counts["same"], survived, counts["not run"], share
    return f"| {subject} | " + " | ".join(map(str, numbers)) + " |"


def _where(subject: str, mutant: Mutant) -> str:
    fault = mutant.fault.replace("|", "\\|")
    return f"| {subject}:{mutant.line} | {mutant.place} | `{fault}` |"
