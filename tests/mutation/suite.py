# SPDX-License-Identifier: Apache-2.0
"""The contract tests, collected once and run again and again in forks of one process, each on other bytecode.

A fork costs milliseconds where a new pytest costs seconds. Contracts run on revm, where nearly every test gives the
same result thirty times faster; those that mention gas, and those that fail on revm though the contracts are sound,
run on py-evm.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, settings

import tests.evm
from serving_network.contracts import artifacts
from serving_network.contracts.build import compiler
from tests.evm import Evm
from tests.stateful.revm import Revm

ROOT = Path(__file__).parents[2]
UNIT = {
    "LedgerManager": "tests/unit/ledger",
    "InferenceServing": "tests/unit/inference",
    "FineTuningServing": "tests/unit/fine_tuning",
}
TOGETHER = ("tests/attacks", "tests/stateful/test_machine.py::test_contracts_do_what_the_model_says")
LONGEST = 150  # seconds of CPU; the whole suite takes a third of it


class ChosenEvm(Evm):
    """What tests get when they ask for an `Evm`."""

    on_revm = True

    def __new__(cls, *args: Any, **named: Any) -> ChosenEvm:
        kind: Any = Revm if cls.on_revm else _PyEvm
        made: ChosenEvm = object.__new__(kind)
        made.__init__(*args, **named)  # type: ignore[misc]  # Python does this by itself only for a subclass
        return made


_PyEvm = Evm


class Suite:
    """A pytest plugin: `work` gets the suite when everything is collected, in place of pytest's own loop."""

    def __init__(self, work: Callable[[Suite], None]) -> None:
        self._work = work
        self._items: list[pytest.Item] = []
        self._different: set[str] = set()
        self._failed: list[str] = []
        self._mocks: set[tuple[Path, Path]] = set()

    def run(self) -> int:
        """Collect, and do the work. The tests' modules must not have been imported before."""
        settings.register_profile(
            "mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate], deadline=None
        )
        settings.load_profile("mutation")
        tests.evm.Evm = ChosenEvm  # type: ignore[misc]
        compiler.compile_contract = self._compile_once(compiler.compile_contract)
        arguments = ["-q", "--tb=no", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:cacheprovider"]
        return int(pytest.main([*arguments, *UNIT.values(), "tests/attacks", "tests/stateful"], plugins=[self]))

    def _compile_once(self, compile_: Callable[..., compiler.Compiled]) -> Callable[..., compiler.Compiled]:
        remembered = cache(compile_)

        def compile_contract(source: Path, search_path: Path) -> compiler.Compiled:
            self._mocks.add((source, search_path))
            return remembered(source, search_path)

        return compile_contract

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = session.items
        session.config.pluginmanager.unregister(name="terminalreporter")
        self._calibrate()
        self._work(self)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(report.nodeid)

    def _calibrate(self) -> None:
        """Find out which tests are different on revm, check that all pass, and compile the mocks once for all forks."""
        found = fork(self._sound_run).wait()
        if "failing" not in found:
            raise RuntimeError(f"the run on the sound contracts broke off: {found}")
        if found["failing"]:
            raise RuntimeError(f"these tests fail on the sound contracts: {found['failing']}")
        self._different = set(found["different"])
        for source, search_path in found["mocks"]:
            compiler.compile_contract(Path(source), Path(search_path))

    def _sound_run(self) -> dict[str, Any]:
        chosen = [item for item in self._items if item.nodeid.startswith((*UNIT.values(), *TOGETHER))]
        self._run(chosen, stop=False)
        different = set(self._failed)
        self._failed.clear()
        ChosenEvm.on_revm = False
        self._run([item for item in chosen if item.nodeid in different], stop=False)
        mocks = [(str(source), str(search_path)) for source, search_path in self._mocks]
        return {"different": sorted(different), "failing": self._failed, "mocks": mocks}

    def first_failure(self, contracts: Iterable[str], *, first: Sequence[str] = ()) -> str:
        """Run the unit tests of `contracts`, those named `first` before all others. "" if all of them pass."""
        prefixes = tuple(UNIT[name] for name in contracts)
        chosen = {item.nodeid: item for item in self._items if item.nodeid.startswith(prefixes)}
        early = [chosen.pop(name) for name in dict.fromkeys(first) if name in chosen]
        return self._on_revm([*early, *chosen.values()])

    def first_failure_together(self, contracts: Iterable[str], *, first: Sequence[str] = ()) -> str:
        """Run what needs the whole network, and on py-evm the unit tests of `contracts` in which gas counts."""
        chosen = {item.nodeid: item for item in self._items if item.nodeid.startswith(TOGETHER)}
        early = [chosen.pop(name) for name in dict.fromkeys(first) if name in chosen]
        prefixes = (*(UNIT[name] for name in contracts), *TOGETHER)
        slow = [item for item in self._items if self._counts_gas(item) and item.nodeid.startswith(prefixes)]
        if failed := self._on_revm([*early, *chosen.values()]):
            return failed
        ChosenEvm.on_revm = False
        return self._run(slow, stop=True)

    def _on_revm(self, items: list[pytest.Item]) -> str:
        return self._run([item for item in items if item.nodeid not in self._different], stop=True)

    def _counts_gas(self, item: pytest.Item) -> bool:
        function = getattr(item, "function", None)
        return item.nodeid in self._different or (function is not None and "gas" in inspect.getsource(function))

    def _run(self, items: list[pytest.Item], *, stop: bool) -> str:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed and stop:
                return self._failed[0]
        return ""


def install(contract: str, creation_code: bytes, directory: Path) -> None:
    """Let every test of this process find other code under the name of a contract. For a fork only."""
    if directory != artifacts.DIRECTORY:
        for path in artifacts.DIRECTORY.glob("*.json"):
            (directory / path.name).write_bytes(path.read_bytes())
        artifacts.DIRECTORY = directory
    path = directory / f"{contract}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bytecode": creation_code.hex()}))
    artifacts.load.cache_clear()


@dataclass(frozen=True)
class Fork:
    """A child process at work."""

    pid: int
    answer: Path
    scratch: TemporaryDirectory[str]

    def wait(self) -> dict[str, Any]:
        """Its answer, when it has ended; {"died": status} if it did not answer."""
        return self.collect(os.waitpid(self.pid, 0)[1])

    def collect(self, status: int) -> dict[str, Any]:
        """As `wait`, for a process that has ended already."""
        found = json.loads(self.answer.read_text()) if self.answer.exists() else {"died": status}
        self.scratch.cleanup()
        return dict(found)


def fork(task: Callable[[], dict[str, Any]]) -> Fork:
    """Do something in a copy of this process, which may break whatever it likes."""
    scratch = TemporaryDirectory()
    answer = Path(scratch.name) / "answer.json"
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Fork(pid, answer, scratch)
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST))
        gc.freeze()
        found = task()
    except BaseException:  # noqa: BLE001  # the parent gets it, and raises it
        found = {"error": traceback.format_exc()}
    answer.write_text(json.dumps(found))
    os._exit(0)
