# SPDX-License-Identifier: Apache-2.0
"""Plots over time: drawn here as SVG, and drawn again with scales and a cursor by the page's script, from its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from serving_network.explorer.web.cells import Kind, coins_text, share_text

WIDTH: Final = 1_000
HEIGHT: Final = 100
DAY: Final = 86_400
DAYS: Final = 60
LEAST_DAYS: Final = 14
"""A plot by day shows at least LEAST_DAYS days and at most DAYS."""


class Shape(StrEnum):
    """How values are drawn: bars for sums of a day, steps for what holds until it changes."""

    BARS = "bars"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one line, one for each point."""

    name: str
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot. `times` are in seconds since 1970, and rise; `kind` is what the values are.

    The last step holds until `until`; a bar stands for `step` seconds.
    """

    id: str
    title: str
    kind: Kind
    shape: Shape
    times: Sequence[int]
    series: Sequence[Series]
    unit: str = ""
    until: int = 0
    step: int = DAY

    @property
    def is_daily(self) -> bool:
        """Whether a bar stands for a day."""
        return self.shape is Shape.BARS and self.step == DAY

    @property
    def highest(self) -> int:
        return max((value for one in self.series for value in one.values), default=0)

    @property
    def is_empty(self) -> bool:
        return len(self.times) == 0 or self.highest == 0

    def label(self, value: int) -> str:
        """A value beside the scale."""
        match self.kind:
            case Kind.AMOUNT:
                return coins_text(value)
            case Kind.PRICE:
                return coins_text(value * 10**6)
            case Kind.SHARE:
                return share_text(value)
            case _:
                return f"{value:,}"

    def path(self, number: int) -> str:
        """The outline of a series in a space of WIDTH by HEIGHT. Whole numbers only, so amounts stay exact."""
        values = self.series[number].values
        if self.shape is Shape.BARS:
            return self._bars(values, number)
        steps: list[str] = []
        for place, value in enumerate(values):
            x, y = self._x(place), self._y(value)
            steps.append(f"M{x} {y}" if not steps else f"H{x}V{y}")
        return "".join([*steps, f"H{WIDTH}"])

    def _bars(self, values: Sequence[int], number: int) -> str:
        slot = WIDTH // max(1, len(values))
        width = max(1, slot * 7 // (10 * len(self.series)))
        bars = []
        for place, value in enumerate(values):
            if value:
                x = place * WIDTH // len(values) + number * width
                bars.append(f"M{x} {HEIGHT}V{self._y(value)}h{width}V{HEIGHT}z")
        return "".join(bars)

    def _x(self, place: int) -> int:
        span = max(self.until, self.times[-1]) - self.times[0] or 1
        return (self.times[place] - self.times[0]) * WIDTH // span

    def _y(self, value: int) -> int:
        return HEIGHT - max(1, value * (HEIGHT - 4) // (self.highest or 1)) if value else HEIGHT


def by_day(id_: str, title: str, unit: str, found: Mapping[int, int], last: int, kind: Kind = Kind.AMOUNT) -> Plot:
    """Sums by day (since 1970, UTC), for the days up to `last`; those without a sum are 0."""
    first = max(min(found, default=last), last - DAYS + 1)
    days = range(min(first, last - LEAST_DAYS + 1), last + 1)
    values = [found.get(day, 0) for day in days]
    return Plot(id_, title, kind, Shape.BARS, [day * DAY for day in days], [Series(unit, values)])
