# SPDX-License-Identifier: Apache-2.0
"""When settlement runs begin, on an event loop whose time passes only while it waits."""

from __future__ import annotations

import asyncio
import logging
import selectors
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from serving_network.errors import NodeFailure
from serving_network.settlement import repeating
from serving_network.settlement.planning import Wait
from serving_network.settlement.repeating import FIRST_PAUSE, LOOK_SECONDS, Repeating
from serving_network.settlement.report import Report, UserLine

STARTED_AT = 1_700_000_000
REPORT = Report(1, "0x1", "0x2")
AWAY = NodeFailure("The node is away.")


class VirtualSelector(selectors.DefaultSelector):
    """Instead of waiting, lets the time pass."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing would ever happen again"
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with the time of its selector, in seconds from 0."""

    def __init__(self) -> None:
        self._virtual = VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Coroutine[Any, Any, None]], None]:
    monkeypatch.setattr(repeating, "time", SimpleNamespace(monotonic=now, time=lambda: STARTED_AT + now() + 0.9))

    def played(scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(scenario)

    return played


Play = Callable[[Coroutine[Any, Any, None]], None]


class Runs:
    """Runs that take `seconds` and do what `outcomes` say, then succeed; the last of `number` runs stops the loop."""

    def __init__(self, number: int, *outcomes: Report | Exception, seconds: float = 0, **options: Any) -> None:
        self.number = number
        self.outcomes = list(outcomes)
        self.seconds = seconds
        self.times: list[float] = []
        self.tasks: list[int] = []
        self.states: list[dict[str, Any]] = []
        self.loop = Repeating(self.run, **{"publish": self.states.append} | options)

    async def run(self) -> Report:
        self.times.append(now())
        self.tasks.append(len(asyncio.all_tasks()))
        await asyncio.sleep(self.seconds)
        if len(self.times) == self.number:
            asyncio.get_running_loop().call_soon(self.loop.stop.set)
        outcome = self.outcomes.pop(0) if self.outcomes else REPORT
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def stopped() -> Report:
    """The report of a run that a failure ended early."""
    return Report(1, "0x1", "0x2", stopped_by=AWAY)


def test_a_run_begins_a_period_after_the_last_one_ended(play: Play) -> None:
    runs = Runs(4, period=100.5, seconds=7)
    play(runs.loop.keep_settling())
    assert runs.times == [0, 107.5, 215, 322.5]
    assert (FIRST_PAUSE, LOOK_SECONDS) == (runs.loop.first_pause, runs.loop.look) == (5, 10)
    assert len(set(runs.tasks)) == 1, "no task is left behind"


def test_pauses_after_failures_double_up_to_the_period_and_start_again(play: Play) -> None:
    failures: list[Report | Exception] = [AWAY, stopped(), OSError("The disk is full."), AWAY, AWAY]
    runs = Runs(9, *failures, REPORT, AWAY, stopped(), period=35)
    runs.loop.is_due = lambda: len(runs.times) < 6  # which counts only while runs succeed
    play(runs.loop.keep_settling())
    assert [after - before for before, after in zip(runs.times, runs.times[1:], strict=False)] == [
        5, 10, 20, 35, 35, 35, 5, 10,
    ]  # fmt: skip
    errors = [state["error"] for state in runs.states]
    away = "The node is away."
    assert errors == [away, away, "The disk is full.", away, away, None, away, away, None]
    assert [state["paid"] for state in runs.states] == [None, "0", None, None, None, "0", None, "0", "0"]


def test_a_run_that_failed_or_stopped_early_is_logged(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    play(Runs(3, AWAY, stopped(), REPORT, period=60).loop.keep_settling())
    assert caplog.record_tuples == [
        ("serving_network.settlement", logging.ERROR, "the settlement run failed: The node is away."),
        ("serving_network.settlement", logging.ERROR, "the settlement run stopped early: The node is away."),
    ]


def test_the_state_after_a_run_is_published(play: Play) -> None:
    report = Report(1, "0x1", "0x2", taken_up_paid=1000)
    waits = [Wait.NO_MONEY, Wait.NOT_FINAL, Wait.NO_MONEY, None]
    for number, wait in enumerate(waits):
        report.lines[str(number)] = UserLine(str(number), 1, 0, 0, 9, paid=4, unsettled=5, wait=wait)
    runs = Runs(2, report, AWAY, period=60)
    play(runs.loop.keep_settling())
    done, failed = runs.states
    assert done == {
        "runs": 1, "at": STARTED_AT, "paid": "1016", "unsettled": "20",
        "waiting": {"no_money": 2, "not_final": 1}, "error": None,
    }  # fmt: skip
    assert failed == {
        "runs": 2, "at": STARTED_AT + 60, "paid": None, "unsettled": None, "waiting": {}, "error": "The node is away.",
    }  # fmt: skip


def test_a_state_that_cannot_be_published_does_not_end_the_loop(play: Play) -> None:
    def publish(_: dict[str, Any]) -> None:
        raise OSError("The disk is full.")

    runs = Runs(2, period=60, publish=publish)
    play(runs.loop.keep_settling())
    assert (runs.times, runs.loop.runs) == ([0, 60], 2)


def test_a_bug_ends_the_loop(play: Play) -> None:
    runs = Runs(2, ValueError("a bug"), period=60)
    with pytest.raises(ValueError, match="a bug"):
        play(runs.loop.keep_settling())


def test_it_settles_early_when_it_is_due(play: Play) -> None:
    runs = Runs(3, period=3600, is_due=lambda: now() >= 25)
    play(runs.loop.keep_settling())
    assert runs.times == [0, 30, 30], "it looks every ten seconds, and first when a run ends"
    assert len(set(runs.tasks)) == 1, "no task is left behind"


@pytest.mark.parametrize(
    ("asked_at", "outcome", "times"),
    [(7, REPORT, [0, 7, 72]), (7, AWAY, [0, 7, 72]), (3, REPORT, [0, 5, 70])],
    ids=["between runs", "after a failure", "while it runs"],
)
def test_it_settles_early_when_somebody_asks(
    play: Play, asked_at: float, outcome: Report | Exception, times: list[float]
) -> None:
    runs = Runs(3, outcome, period=60, seconds=5)

    async def scenario() -> None:
        runs.loop.asked.set()  # before the first run, which answers it
        asyncio.get_running_loop().call_later(asked_at, runs.loop.asked.set)
        await runs.loop.keep_settling()

    play(scenario())
    assert runs.times == times


@pytest.mark.parametrize("stopped_at", [0, 4, 9.5])
def test_a_stop_ends_a_pause_at_once(play: Play, stopped_at: float) -> None:
    runs = Runs(9, period=60)

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(stopped_at, runs.loop.stop.set)
        await runs.loop.keep_settling()
        assert now() == stopped_at

    play(scenario())
    assert runs.times == [0]


def test_a_stop_ends_a_run_at_once(play: Play) -> None:
    ended: list[float] = []
    states: list[dict[str, Any]] = []

    async def run() -> Report:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(now())
        return REPORT

    loop = Repeating(run, 3600, publish=states.append)

    async def scenario() -> None:
        asyncio.get_running_loop().call_later(5, loop.stop.set)
        await loop.keep_settling()
        assert ended == [5], "the loop ends after its run"

    play(scenario())
    assert (ended, states, loop.runs) == ([5], [], 0)
    play(loop.keep_settling())
    assert ended == [5], "one that is stopped already does not run"
