# SPDX-License-Identifier: Apache-2.0
"""The page docs/performance.md, from the stored figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from benchmarks.figures import Figure

HEAD = """# Performance

`make bench` measures every part beside a floor: what any program must do at least, done by the fastest library for it,
in the same run on the same machine. Ratios to floors hold on other machines; times do not. It writes
`benchmarks/performance.json`, from which this page is printed, and fails if a target is missed.
`make bench PARTS="chain startup"` measures these parts only. Times are CPU time unless they say otherwise.
"""


def printed(stored: Mapping[str, Any]) -> str:
    """The page."""
    return HEAD + "".join(f"\n{_section(name, part)}" for name, part in stored.items())


def _section(name: str, part: Mapping[str, Any]) -> str:
    about = (import_module(f"benchmarks.{name}").__doc__ or "").partition("\n")[0]
    rows = (Figure(**figure) for figure in part["figures"])
    table = "\n".join(_table(rows))
    return f"## {name.capitalize()}\n\n{about}\n\n{table}\n\nMeasured on {part['machine']}.\n"


def _table(figures: Iterator[Figure]) -> Iterator[str]:
    yield "| figure | value | floor | ratio | target |"
    yield "|---|---:|---|---:|---|"
    for one in figures:
        floor = "" if one.floor_value is None else f"{one.floor}: {_number(one.floor_value)} {one.unit}"
        ratio = "" if one.ratio is None else f"{_number(one.ratio)}"
        yield f"| {one.name} | {_number(one.value)} {one.unit} | {floor} | {ratio} | {_target(one)} |"


def _target(figure: Figure) -> str:
    bound = "at least" if figure.is_rate else "at most"
    targets = []
    if figure.unit_target is not None:
        targets.append(f"{bound} {_number(figure.unit_target)} {figure.unit}")
    if figure.target is not None:
        targets.append(f"ratio at most {_number(figure.target)}")
    return "; ".join(targets) + (", missed" if figure.reached is False else "")


def _number(value: float) -> str:
    """Three digits, with thousands separated."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
