# SPDX-License-Identifier: Apache-2.0
"""What a gateway counts, in the text format of Prometheus.

A request adds to three dictionaries; everything else is computed when it is asked for. Labels have few values: routes
that are served, statuses, and the codes of refusals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Final

BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Metrics:
    """Counts of one process since its start."""

    def __init__(self) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self.refusals: Counter[str] = Counter()
        self._durations: dict[str, list[int]] = {}
        self._seconds: Counter[str] = Counter()

    def answered(self, route: str, status: int, seconds: float, *, paid: bool) -> None:
        """Count an answer, by the time until its last byte."""
        self.answers[route, status] += 1
        if paid:
            buckets = self._durations.setdefault(route, [0] * (len(BUCKETS) + 1))
            buckets[bisect_left(BUCKETS, seconds)] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self.refusals[code] += 1

    def as_json(self) -> dict[str, Any]:
        """The counts for `serving gateway status`."""
        return {
            "answers": {f"{route} {status}": number for (route, status), number in sorted(self.answers.items())},
            "refused": dict(self.refusals.most_common()),
            "durations": {
                route: {
                    "answers": sum(buckets),
                    "seconds": round(float(self._seconds[route]), 3),
                    "at_most": dict(zip(map(str, BUCKETS), accumulate(buckets), strict=False)),
                }
                for route, buckets in self._durations.items()
            },
        }

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> str:
        """The counts, and gauges that the caller reads now, each with its name and help."""
        lines = _series(
            "serving_gateway_answers_total",
            "counter",
            "Answers by route and status; 499: the client left.",
            [({"route": route, "status": str(status)}, number) for (route, status), number in self.answers.items()],
        )
        lines += _series(
            "serving_gateway_refusals_total",
            "counter",
            "Refusals by reason.",
            [({"reason": code}, number) for code, number in self.refusals.items()],
        )
        lines += _heading("serving_gateway_duration_seconds", "histogram", "Time until the last byte of paid answers.")
        for route, buckets in self._durations.items():
            for bound, number in zip((*map(str, BUCKETS), "+Inf"), accumulate(buckets), strict=True):
                lines.append(_line("serving_gateway_duration_seconds_bucket", {"route": route, "le": bound}, number))
            lines.append(_line("serving_gateway_duration_seconds_sum", {"route": route}, self._seconds[route]))
            lines.append(_line("serving_gateway_duration_seconds_count", {"route": route}, sum(buckets)))
        for name, help_, value in gauges:
            lines += _series(f"serving_gateway_{name}", "gauge", help_, [({}, value)])
        return "\n".join(lines) + "\n"


def _series(name: str, kind: str, help_: str, values: Iterable[tuple[Labels, float]]) -> list[str]:
    return _heading(name, kind, help_) + [_line(name, labels, value) for labels, value in values]


def _heading(name: str, kind: str, help_: str) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Labels, value: float) -> str:
    """A sample. Labels are names of this program, so they need no escapes."""
    shown = ",".join(f'{key}="{one}"' for key, one in labels.items())
    return f"{name}{{{shown}}} {value}" if shown else f"{name} {value}"
