# SPDX-License-Identifier: Apache-2.0
"""What a part of the benchmark returns: figures, each with the floor that was measured in the same run.

A part is a package `benchmarks/PART` with a function `measure() -> list[Figure]`, listed in `benchmarks/run.py`. Its
docstring says in one sentence what is measured; docs/performance.md quotes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One figure: `value` in `unit`. Less is better, unless the unit is a rate ("rows/s").

    `floor` says what does the least that any program must do here, and `floor_value` is what it took in the same run;
    None if it is not installed. `target` is the highest ratio to the floor that is accepted, or with `unit_target` the
    value itself that must be reached.
    """

    name: str
    value: float
    unit: str
    floor: str | None = None
    floor_value: float | None = None
    target: float | None = None
    unit_target: float | None = None

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float | None:
        """How many times as much as the floor it takes."""
        if self.floor_value is None:
            return None
        return self.floor_value / self.value if self.is_rate else self.value / self.floor_value

    @property
    def reached(self) -> bool | None:
        """Whether the targets are reached; None if there is none, or its floor is missing."""
        held = []
        if self.target is not None and self.ratio is not None:
            held.append(self.ratio <= self.target)
        if self.unit_target is not None:
            held.append(self.value >= self.unit_target if self.is_rate else self.value <= self.unit_target)
        return all(held) if held else None


def cpu_ms(work: Callable[[], object], runs: int = 5) -> float:
    """The median of the CPU milliseconds that the work takes in this process, after one run that is not counted."""
    work()
    taken = []
    for _ in range(runs):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return 1000 * median(taken)
