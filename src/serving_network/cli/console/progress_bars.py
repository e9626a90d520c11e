# SPDX-License-Identifier: Apache-2.0
"""Progress of long work on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from serving_network.cli.console.session import Session


class Bars:
    """Progress on the terminal: one bar for the current phase."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._phase = ""

    def show(self, phase: str, done: int, total: int) -> None:
        if self._bars is None:
            return
        if self._task is None or phase != self._phase:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task, self._phase = self._bars.add_task(phase), phase
        self._bars.update(self._task, completed=done, total=total or None)


@contextmanager
def progress_bars(session: Session) -> Iterator[Bars]:
    """Bars on a terminal; nothing elsewhere, or with --json."""
    console = Console(stderr=True)
    if session.out.as_json or not console.is_terminal:
        yield Bars(None)
        return
    layout = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*layout, console=console, transient=True) as bars:
        yield Bars(bars)
