# SPDX-License-Identifier: Apache-2.0
"""Figures of the benchmark, and the page that is printed from them."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module

import pytest

from benchmarks.figures import Figure
from benchmarks.page import printed
from benchmarks.run import FIGURES, PAGE, PARTS, available


def test_the_page_is_printed_from_the_stored_figures() -> None:
    assert PAGE.read_text("utf-8") == printed(json.loads(FIGURES.read_text("utf-8")))


def test_every_part_has_one_interface_and_says_what_it_measures() -> None:
    assert set(available()) <= set(PARTS)
    for name in available():
        part = import_module(f"benchmarks.{name}")
        assert callable(part.measure)
        assert str(part.__doc__).partition("\n")[0].endswith(".")


@pytest.mark.parametrize(
    ("figure", "ratio", "reached"),
    [
        (Figure("time", 30, "ms", "floor", 10, target=3), 3, True),
        (Figure("time", 31, "ms", "floor", 10, target=3), 3.1, False),
        (Figure("time", 31, "ms", "floor", None, target=3), None, None),
        (Figure("time", 31, "ms", "floor", 10), 3.1, None),
        (Figure("rate", 50, "rows/s", "floor", 100, target=2), 2, True),
        (Figure("rate", 49, "rows/s", unit_target=50), None, False),
        (Figure("rate", 50, "rows/s", unit_target=50), None, True),
        (Figure("size", 51, "bytes/row", unit_target=50), None, False),
        (Figure("size", 50, "bytes/row", "floor", 10, target=4, unit_target=50), 5, False),
    ],
)
def test_a_figure_beside_its_floor_and_its_targets(figure: Figure, ratio: float | None, reached: bool | None) -> None:
    assert figure.ratio == ratio
    assert figure.reached is reached
    page = printed({"chain": {"machine": "a machine", "figures": [asdict(figure)]}})
    assert (", missed" in page) == (reached is False)
