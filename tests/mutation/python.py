# SPDX-License-Identifier: Apache-2.0
"""Mutation testing of the settlement's Python code: do its fast tests notice a small fault?

    python -m tests.mutation.python --results .mutation/python.jsonl [--sample 100] [FILE ...]
    python -m tests.mutation.python --table

The tests that guard a file (tests/settlement, or what `GUARDS` names for it) are run once, to see which lines each of
them reaches. Then every mutant gets a process of
its own, forked from one in which the tests are collected and wait: a function's code is replaced in place, so that
everybody who holds the function runs the broken one. What runs when a module is imported is broken on import instead,
in a process forked from one that has loaded the libraries only. The tests that reach the line are run, the fastest
first, until one fails, or they took as long as can be waited for. A line of the results says what became of it:

| outcome | meaning |
|---|---|
| killed | a test failed, did not end, or used up its memory |
| survived | every test that reaches the line passed |
| unreached | no test reaches the line |

What was killed is not run again while its function stays the same. What was not killed is given only to tests that are
new, changed or newly reach it: stop it whenever you like. What kills processes, plays the demo or tries random
histories is too slow to be part of the suite (`SLOW`). `--sample` takes that many mutants of each file, drawn with a
fixed seed, and `--enough 3` stops earlier, so that a first run ends soon: the next one goes on with the other tests.
`--table` runs nothing and writes the results so far, as docs/security/mutation-python.md shows them.

Tests are measured and limited in CPU seconds, so a busy machine neither kills a mutant nor lets one survive. Two
processes with different files may write the same results.
"""

from __future__ import annotations

import argparse
import ast
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, count
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType, ModuleType
from typing import Any
from unittest.mock import patch

import hypothesis
import pytest

from tests import store_fixtures
from tests.mutation.python_mutants import Mutant, broken, mutants
from tests.mutation.python_tables import Judged, written
from tests.postgres import PostgresServer, missing, postgres_server
from tests.results import add, read
from tests.scratch import memory

ROOT = Path(__file__).parents[2]
COPIED = ("contracts", "docs", "src", "tests", "hatch_build.py", "pyproject.toml", "Makefile")
PACKAGE = "serving_network"
SUBJECTS = (
    "settlement/nonces.py", "settlement/wallet_nonces.py", "settlement/journal/batches.py",
    "settlement/journal/bookings.py", "settlement/journal/queue.py", "settlement/journal/known.py",
    "settlement/journal/decisions.py",
    "settlement/following.py", "settlement/sending.py", "settlement/repeating.py", "settlement/resuming.py",
    "settlement/cancelling.py", "settlement/adopting.py", "settlement/runner.py", "settlement/planning.py",
    "settlement/live.py", "settlement/history.py", "settlement/chain.py", "settlement/gas.py",
    "settlement/journal/__init__.py", "settlement/journal/records.py", "settlement/journal/served.py",
    "settlement/recording.py", "settlement/report.py", "settlement/options.py", "usage_logs/reader.py",
    "usage_logs/columns.py", "usage_logs/records.py", "usage_logs/shapes.py",
    "usage_logs/sources.py", "usage_logs/values.py",
    "settlement/journal/readings.py", "store/spool.py", "store/schema.py", "store/served.py", "store/intake.py",
    "store/taking_in.py", "store/billing.py", "store/bills.py", "store/opening.py", "store/migration.py",
    "store/sqlite.py", "clients/settlements.py",
    "messages/prices.py", "messages/typed_data.py", "messages/usage.py",
)  # fmt: skip
"""What is mutated, those closest to payments first."""

SETTLEMENT = ("tests/settlement",)
STORE = ("tests/store", "tests/settlement/test_served.py", "tests/settlement/test_spool.py")
MIGRATION = ("tests/settlement/test_migration.py", "tests/settlement/test_migration_4.py")
OPENING = (*STORE, *MIGRATION, "tests/settlement/test_opening.py", "tests/settlement/test_journal_rules.py")
GUARDS = {
    "store/served.py": STORE, "store/intake.py": STORE, "store/taking_in.py": STORE, "store/billing.py": STORE,
    "store/bills.py": ("tests/clients/bills/test_storing.py",), "store/opening.py": OPENING,
    "store/migration.py": (*MIGRATION, "tests/settlement/test_served.py"), "store/sqlite.py": OPENING,
}  # fmt: skip
"""The folders and files of the tests that a file's mutants are given to, where these are not tests/settlement."""

SLOW = (
    "test_killed.py", "test_demo.py", "test_example.py", "test_histories.py", "test_commands.py",
    "test_journal_machine.py", "::TestJournalMachine", "::test_whatever_", "::test_no_space_left",
    "::test_a_kill_at_any_statement", "::test_any_journal_of_version_1", "::test_rows_wait_in_the_spool_while_",
    "test_moving.py::test_the_command",
)  # fmt: skip
"""Tests that take long, kill processes or stop the PostgreSQL server."""
LOADED = (
    "eth_account.messages", "hypothesis.stateful", "serving_network.chain.connection", "serving_network.localchain",
    "serving_network.contracts.codec", "serving_network.chain.contract", "serving_network.contracts.models",
    "coincurve",
)  # fmt: skip
REAL_CHAIN = "test_live.py"
NEEDS_REAL_CHAIN = ("settlement/live.py", "settlement/history.py", "clients/settlements.py")
"""Only mutants of these are given to the tests on the real contracts: those of the others are noticed sooner."""

POSTGRES = "store/postgres.py"
"""What a test reaches that needs a PostgreSQL server."""

ENOUGH = 12
"""CPU seconds of tests that a mutant has to survive, unless `--enough` says otherwise."""

TRACED = 3
"""How much slower a test is about while its lines are noted."""

ASLEEP = 60
"""After so many seconds without any work, a test waits for something that never comes."""

LONGEST = 1800
"""Seconds after which a process is ended, whatever it does."""

NO_TESTS = 99
"""How a process ends in which pytest did not even start."""

Suite = dict[str, dict[str, Any]]
"""Of each test the CPU seconds that it takes, and by file the lines that it reaches."""


def main() -> int:
    arguments = _arguments()
    subjects = arguments.subjects or SUBJECTS
    if arguments.table:
        sys.stdout.write(written(_current(subjects, arguments.results)))
        return 0
    if arguments.copy is not None:
        with _postgres_at(arguments.postgres):
            return Workshop(arguments.copy, arguments.results, subjects, arguments.enough).run(arguments.sample)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop the server
    with (
        TemporaryDirectory(dir=memory()) as scratch,
        nullcontext() if missing() else postgres_server() as server,
    ):
        copy = Path(scratch)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy(source, copy / name)
        words = ["--copy", scratch, "--results", str(arguments.results.resolve()), *arguments.subjects]
        words += ["--sample", str(arguments.sample), "--enough", str(arguments.enough)]
        words += ["--postgres", str(server.directory)] if server is not None else []
        return subprocess.run(
            [sys.executable, "-m", "tests.mutation.python", *words],
            cwd=scratch,
            env=os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy}"},
            check=False,
        ).returncode


def _postgres_at(directory: Path | None) -> AbstractContextManager[object]:
    """Tests that need a PostgreSQL server use the one in this directory, instead of starting one for each mutant."""
    if directory is None:
        return nullcontext()
    return patch.object(
        store_fixtures,
        "postgres_server",
        lambda: nullcontext(PostgresServer(directory, durable=False, numbers=count(time.time_ns()))),
    )


class Workshop:
    """A process in a copy of the checkout, with everything loaded but the settlement code and its tests."""

    def __init__(self, copy: Path, results: Path, subjects: Sequence[str], enough: float) -> None:
        self._copy = copy
        self._enough = enough
        self._subjects = subjects
        self._results = results
        self._source = copy / "src" / PACKAGE
        self._log = results.parent / "python.log"
        hypothesis.settings.register_profile(
            "mutation",
            derandomize=True,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            suppress_health_check=[hypothesis.HealthCheck.too_slow],  # which a busy machine fails
        )
        hypothesis.settings.load_profile("mutation")
        for name in LOADED:
            importlib.import_module(name)
        held = sorted({_module(subject) for subject in subjects} & sys.modules.keys())
        assert not held, f"a mutant of {held} would not be seen: load less"
        gc.collect()
        gc.freeze()
        results.parent.mkdir(parents=True, exist_ok=True)
        self._guards = sorted({guard for subject in subjects for guard in guards(subject)})
        self._suite = self._measured()
        self._versions = _versions(copy, self._guards)
        self._bench = Bench(self._copy, self._log, self._guards)

    def run(self, sample: int) -> int:
        done = {one["mutant"]: one for one in read(self._results)}
        for imported in (False, True):  # a process that imports everything anew takes ten times as long
            for subject in self._subjects:
                found = list(named(subject, (self._source / subject).read_text()))
                if sample:
                    drawn = random.Random(subject).sample(range(len(found)), min(sample, len(found)))
                    found = [found[index] for index in sorted(drawn)]
                self._run(subject, [one for one in found if one[1].imported is imported], done)
        return 0

    def _run(self, subject: str, found: Sequence[tuple[str, Mutant]], done: dict[str, dict[str, Any]]) -> None:
        """Judge these mutants of a file, as far as they are not judged yet."""
        source = (self._source / subject).read_text()
        last: dict[str, str] = {}
        for name, mutant in found:
            known = done.get(name)
            if known is not None and known["outcome"] == "killed":
                last[mutant.place] = known["by"]
                continue
            passed = set(known.get("passed", ())) if known is not None else set()
            given = self._reaching(subject, mutant, last.get(mutant.place))
            tests = [test for test in given if self._version(test) not in passed]
            if known is not None and not tests:
                continue
            result = {"mutant": name} | self._judge(subject, source, mutant, tests)
            if result["outcome"] == "killed":
                last[mutant.place] = result["by"]
            else:
                result["passed"] = sorted(passed | {self._version(test) for test in tests})
                result["outcome"] = "survived" if result["passed"] else "unreached"
            add(self._results, result)
            sys.stdout.write(f"{result['outcome']:10}{subject}:{mutant.line} {mutant.place} {mutant.fault}\n")
            sys.stdout.flush()

    def _version(self, test: str) -> str:
        """What the text of a test is at present."""
        file, name = test.split("::")[:2]
        return _hash(test + self._versions[file, name.split("[")[0]])

    def _judge(self, subject: str, source: str, mutant: Mutant, tests: list[str]) -> dict[str, Any]:
        began = time.monotonic()
        passed, by = True, ""
        if tests:
            module = _module(subject)
            times = {test: self._suite[test]["seconds"] for test in tests}
            if mutant.imported:
                code = compile(broken(source, mutant), str(self._source / subject), "exec", dont_inherit=True)
                passed, by = self._forked(Chosen(times), _Finder(module, code))
            else:
                passed, by = self._bench.judge(Job(module, str(self._source / subject), mutant, times))
        return {
            "subject": subject, "line": mutant.line, "place": mutant.place, "fault": mutant.fault,
            "outcome": "survived" if passed else "killed", "by": "" if passed else by,
            "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip

    def _reaching(self, subject: str, mutant: Mutant, first: str | None) -> list[str]:
        """The tests that reach a mutant, those first that are likely to notice it soon."""
        lines = range(mutant.line, mutant.end + 1)
        files = {test.split("::")[0] for test, told in self._suite.items() if subject in told["lines"]}
        own = f"test_{Path(subject).stem}", f"test_{Path(subject).parent.name}"
        found = [
            test
            for test, told in self._suite.items()
            if test.startswith(guards(subject))
            if REAL_CHAIN not in test or subject in NEEDS_REAL_CHAIN
            if (test.split("::")[0] in files if mutant.imported else set(lines) & set(told["lines"].get(subject, ())))
        ]
        found.sort(
            key=lambda one: (
                one != first,
                not any(name in one for name in own),
                POSTGRES in self._suite[one]["lines"],  # the server's work is not in its seconds
                self._suite[one]["seconds"],
            )
        )
        times = accumulate(self._suite[test]["seconds"] for test in found)
        return [test for test, until in zip(found, times, strict=True) if until <= self._enough or test == found[0]]

    def _measured(self) -> Suite:
        """The suite, measured on the sound code; a file that was measured before, with the same code, is not again."""
        code = "".join(path.read_text() for path in sorted(self._source.rglob("*.py")))
        suite: Suite = {}
        for path in _files(self._copy, self._guards):
            name = str(path.relative_to(self._copy))
            sources = code + _shared(path.parent) + name + path.read_text()
            kept = self._results.parent / "suite" / f"{path.stem}-{_hash(sources)}.json"
            kept.parent.mkdir(exist_ok=True)
            needed = path.name != REAL_CHAIN or set(self._subjects) & set(NEEDS_REAL_CHAIN)
            if needed and path.name not in SLOW and not kept.exists():
                passed, by = self._forked(Measure(name, self._source, kept), None)
                assert passed, f"the tests do not pass as they are: {by}, see {self._log}"
            suite |= json.loads(kept.read_text()) if kept.exists() else {}
        return suite

    def _forked(self, plugin: Choice, finder: _Finder | None) -> tuple[bool, str]:
        """Run tests in a process of their own. Tells whether all passed, and the last one that was begun."""
        begun = self._copy / "begun"

        def run() -> None:
            plugin.begun = begun
            if finder is not None:
                sys.meta_path.insert(0, finder)
            os._exit(_pytest(self._copy, plugin.files(), plugin))

        return _in_a_fork(run, begun, self._log)


@dataclass(frozen=True)
class Job:
    """A mutant of a module's source file, and the tests that it is given to, with the CPU seconds that each takes."""

    module: str
    path: str
    mutant: Mutant
    times: dict[str, float]


class Bench:
    """A process in which the tests are collected; it forks one for each mutant."""

    def __init__(self, copy: Path, log: Path, guards: Sequence[str]) -> None:
        ours, theirs = multiprocessing.Pipe()
        process = os.fork()
        if process == 0:
            ours.close()
            output = os.open(log.with_name("bench.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os._exit(_pytest(copy, list(guards), Bench.Plugin(theirs, copy, log)))
        theirs.close()
        self._pipe = ours

    def judge(self, job: Job) -> tuple[bool, str]:
        """Whether all tests passed, and the last one that was begun."""
        self._pipe.send(job)
        answer: tuple[bool, str] = self._pipe.recv()
        return answer

    class Plugin:
        """Takes the place of pytest's own loop over the tests."""

        def __init__(self, pipe: Pipe, copy: Path, log: Path) -> None:
            self._pipe = pipe
            self._begun = copy / "begun"
            self._log = log

        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            items = {item.nodeid: item for item in session.items}
            gc.collect()
            gc.freeze()
            while True:
                try:
                    job: Job = self._pipe.recv()
                except EOFError:
                    return True
                run = partial(self._run, job, [items[test] for test in job.times])
                self._pipe.send(_in_a_fork(run, self._begun, self._log))

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                os.write(1, str(report.longrepr).encode())
                os._exit(1)

        def _run(self, job: Job, items: list[pytest.Item]) -> None:
            source = Path(job.path).read_text()
            code = compile(broken(source, job.mutant), job.path, "exec", dont_inherit=True)
            _break(importlib.import_module(job.module), code, job.mutant.place.split("."))
            choice = Chosen(job.times, self._begun)
            for item, following in zip(items, [*items[1:], None], strict=True):
                choice.pytest_runtest_logstart(item.nodeid)
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            os._exit(0)


def _break(holder: Any, code: CodeType, place: list[str]) -> None:
    """Put the code of the outermost function on the way to `place` into the function that is there."""
    for name in place:
        code = next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)
        holder = vars(holder)[name]
        if code.co_flags & inspect.CO_OPTIMIZED:
            break
    function: Any = holder.fget if isinstance(holder, property) else inspect.unwrap(getattr(holder, "__func__", holder))
    if not code.co_freevars:  # a fault that takes out `super()` also takes out its hidden variable
        code = code.replace(co_freevars=function.__code__.co_freevars)
    function.__code__ = code


def _pytest(directory: Path, files: list[str], plugin: object) -> int:
    switches = ["-x", "-q", "-s", "--tb=short", "--no-header", f"--basetemp={directory / 'tmp'}"]
    switches += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest"]
    return int(pytest.main([*switches, "-W", "ignore::pytest.PytestAssertRewriteWarning", *files], plugins=[plugin]))


def _in_a_fork(run: Callable[[], None], begun: Path, log: Path) -> tuple[bool, str]:
    """Whether a process that runs this ends well, and what it wrote to `begun`; one that falls asleep does not."""
    begun.write_text("")
    process = os.fork()
    if process == 0:
        try:
            os.setsid()
            memory = os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[0]) + (3 << 29)
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 29, 1 << 29))
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            run()
        finally:
            traceback.print_exc()
            os._exit(NO_TESTS)
    began = awake = time.monotonic()
    worked = 0
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            break
        now = time.monotonic()
        state, *numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks = int(numbers[10]) + int(numbers[11])
        if state != "S" or ticks != worked:
            awake, worked = now, ticks
        if now - awake > ASLEEP or now - began > LONGEST:
            os.killpg(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            break
        time.sleep(0.005 if now - began < 1 else 0.05)
    code = os.waitstatus_to_exitcode(status)
    assert code not in (pytest.ExitCode.NO_TESTS_COLLECTED, NO_TESTS), f"no test was run, see {log}"
    return code == 0, begun.read_text()


class Choice(ABC):
    """A plugin of pytest: which tests are run, in which order, and how many CPU seconds each may take."""

    def __init__(self, begun: Path | None = None) -> None:
        self.begun = begun

    @abstractmethod
    def files(self) -> list[str]: ...

    def seconds(self, _: str) -> float:
        return 300

    def wanted(self, items: list[pytest.Item]) -> list[pytest.Item]:
        return [item for item in items if not any(one in item.nodeid for one in SLOW)]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = self.wanted(items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        assert self.begun is not None
        self.begun.write_text(nodeid)
        signal.setitimer(signal.ITIMER_PROF, self.seconds(nodeid))


class Chosen(Choice):
    """These tests in this order."""

    def __init__(self, tests: dict[str, float], begun: Path | None = None) -> None:
        super().__init__(begun)
        self._tests = tests

    def files(self) -> list[str]:
        return sorted({test.split("::")[0] for test in self._tests})

    def seconds(self, nodeid: str) -> float:
        return 5 + 4 * self._tests[nodeid]

    def wanted(self, items: list[pytest.Item]) -> list[pytest.Item]:
        place = {test: number for number, test in enumerate(self._tests)}
        return sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])


class Measure(Choice):
    """All tests of a file: how long each takes, and which lines each reaches."""

    def __init__(self, file: str, source: Path, written: Path) -> None:
        super().__init__()
        self._file = file
        self._source = str(source) + os.sep
        self._written = written
        self._suite: Suite = {}
        self._reached: dict[str, set[int]] = {}

    def files(self) -> list[str]:
        return [self._file]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._reached = {}
        began = time.process_time()
        threading.settrace(self._entered)
        sys.settrace(self._entered)
        yield
        sys.settrace(None)
        threading.settrace(None)
        seconds = (time.process_time() - began) / TRACED
        lines = {name: sorted(reached) for name, reached in self._reached.items()}
        self._suite[item.nodeid] = {"seconds": round(seconds, 2), "lines": lines}

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus == 0:
            self._written.write_text(json.dumps(self._suite))

    def _entered(self, frame: FrameType, _: str, __: Any) -> Callable[..., Any] | None:
        path = frame.f_code.co_filename
        if not path.startswith(self._source):
            return None
        reached = self._reached.setdefault(path[len(self._source) :], set())

        def at(frame: FrameType, _: str, __: Any) -> Callable[..., Any]:
            reached.add(frame.f_lineno)
            return at

        return at(frame, "", None)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutated module from its broken code."""

    def __init__(self, module: str, code: CodeType) -> None:
        self._module = module
        self._code = code

    def find_spec(self, fullname: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self._code.co_filename)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


def _module(subject: str) -> str:
    """The name of the module in a source file."""
    return f"{PACKAGE}.{subject.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"


def named(subject: str, source: str) -> Iterator[tuple[str, Mutant]]:
    """The mutants of a source, each with a name that it keeps as long as the function around it stays the same."""
    around = {"": ""} | dict(_places(ast.parse(source), ""))
    seen: dict[tuple[str, str], int] = {}
    for mutant in mutants(source):
        alike = seen[mutant.place, mutant.fault] = seen.get((mutant.place, mutant.fault), 0) + 1
        yield _hash("\n".join([subject, mutant.place, around[mutant.place], mutant.fault, str(alike)])), mutant


def _places(node: ast.AST, before: str) -> Iterator[tuple[str, str]]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{before}{inner.name}"
            yield name, "" if isinstance(inner, ast.ClassDef) else ast.unparse(inner)
            yield from _places(inner, f"{name}.")
        else:
            yield from _places(inner, before)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def guards(subject: str) -> tuple[str, ...]:
    """The folders and files of the tests that guard a file."""
    return GUARDS.get(subject, SETTLEMENT)


def _files(copy: Path, guards: Sequence[str]) -> list[Path]:
    """The files of these tests."""
    found = {
        one for name in guards for one in ((copy / name).glob("test_*.py") if (copy / name).is_dir() else [copy / name])
    }
    return sorted(found)


def _shared(folder: Path) -> str:
    """What the tests in a folder share."""
    return "".join(path.read_text() for path in sorted(folder.glob("*.*")) if not path.name.startswith("test_"))


def _versions(copy: Path, guards: Sequence[str]) -> dict[tuple[str, str], str]:
    """What decides on the result of a test, by file and name: its own text, and what it shares with others."""
    found: dict[tuple[str, str], str] = {}
    shared = {folder: _shared(folder) for folder in {path.parent for path in _files(copy, guards)}}
    for path in _files(copy, guards):
        body = ast.parse(path.read_text()).body
        own = {
            one.name: ast.unparse(one)
            for one in body
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and one.name.lower()[:4] == "test"
        }
        rest = "\n".join(ast.unparse(one) for one in body if getattr(one, "name", "") not in own)
        for name, text in own.items():
            found[str(path.relative_to(copy)), name] = _hash(shared[path.parent] + rest + text)
    return found


def _current(subjects: Sequence[str], results: Path) -> dict[str, list[Judged]]:
    """The mutants of the code as it is, each with its result so far."""
    done = {one["mutant"]: one for one in read(results)}
    return {
        subject: [
            Judged(mutant, str(done[name]["outcome"]) if name in done else "")
            for name, mutant in named(subject, (ROOT / "src" / PACKAGE / subject).read_text())
        ]
        for subject in subjects
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(".mutation/python.jsonl"))
    parser.add_argument("--sample", type=int, default=0, help="only so many mutants of each file")
    parser.add_argument("--enough", type=float, default=ENOUGH, help="CPU seconds of tests for a mutant that survives")
    parser.add_argument("--table", action="store_true", help="write the results so far as tables")
    parser.add_argument("--copy", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--postgres", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("subjects", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
