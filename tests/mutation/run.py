# SPDX-License-Identifier: Apache-2.0
"""Mutation testing of the contracts: does the fast suite notice a small fault?

    python -m tests.mutation.run [--jobs 2] [--unit] [--survivors] [--sample 200] [--since REVISION]
        [ledger/LedgerManager.vy ...]

Every mutant that compiles to other code is given to the unit tests of its contract, then to the attacks and a short run
of the state machine. A line of the results says what became of it:

| outcome | meaning |
|---|---|
| killed | a test failed |
| survived | every test passed |
| invalid | it does not compile, or not to code that can be deployed |
| same | it compiles to the same code |

What is in the results for the same source is not run again: stop it whenever you like. `--survivors` judges again what
survived, unless survivors.toml gives the reason. `--unit` leaves the attacks and the state machine out, for a quick
first look. `--sample` takes that many mutants of each file, drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serving_network.contracts import load
from tests.mutation.compiling import check, creation_code, without_trailer
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.suite import ROOT, UNIT, Fork, Suite, fork, install
from tests.results import add, read

SUBJECTS = (
    "ledger/LedgerManager.vy",
    "ledger/registry.vy",
    "serving/accounts.vy",
    "serving/ledger_calls.vy",
    "serving/services.vy",
    "serving/lists.vy",
    "serving/payouts.vy",
    "serving/tee.vy",
    "inference/InferenceServing.vy",
    "inference/batches.vy",
    "inference/tokens.vy",
    "fine_tuning/FineTuningServing.vy",
    "fine_tuning/deliverables.vy",
    "fine_tuning/verifier.vy",
)
LARGEST_CODE = 24_576
SURVIVORS = Path(__file__).with_name("survivors.toml")
COLUMNS = (
    "file", "mutants", "not judged", "invalid", "same code", "killed", "survived", "of these equivalent",
    "killed of all", "but for equivalent ones",
)  # fmt: skip
NEAR = 8
"""So many tests that noticed the nearest faults are run first."""


@dataclass(frozen=True)
class Task:
    """One mutant of one file, under the name that the results know it by."""

    name: str
    subject: str
    mutant: Mutant

    @property
    def known_as(self) -> tuple[str, str]:
        """How survivors.toml names it."""
        return self.subject, self.mutant.fault


def main() -> int:
    arguments = _arguments()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = {one["mutant"]: one for one in read(arguments.results)}
    known = _faults_at(arguments.since) if arguments.since else frozenset()
    tasks = [
        task for task in _tasks(arguments.subjects or SUBJECTS, arguments.sample) if task.mutant.fault not in known
    ]
    reasons = equivalent()
    due = [task for task in tasks if task.name not in done]
    if arguments.survivors:
        unexplained = (task for task in tasks if task.known_as not in reasons)
        due += [task for task in unexplained if done.get(task.name, {}).get("outcome") == "survived"]
    sys.stdout.write(f"{len(tasks)} mutants, {len(due)} to be judged\n")
    if due:

        def work(suite: Suite) -> None:
            for found in _judge_all(suite, due, done, arguments):
                done[found["mutant"]] = found
                add(arguments.results, found)
                sys.stdout.write(f"{found['outcome']:9}{found['subject']}:{found['line']} {found['fault']}\n")
                sys.stdout.flush()

        status = Suite(work).run()
        if status:
            return status
    sys.stdout.write(report(tasks, done, reasons, complete=not (arguments.since or arguments.sample)))
    return 0


def _tasks(subjects: Sequence[str], sample: int) -> Iterator[Task]:
    for subject in subjects:
        found = list(mutants((ROOT / "contracts" / subject).read_text()))
        if sample:
            drawn = random.Random(subject).sample(range(len(found)), min(sample, len(found)))
            found = [found[index] for index in sorted(drawn)]
        for mutant in found:
            name = hashlib.sha256(f"{subject}\n{mutant.source}".encode()).hexdigest()[:16]
            yield Task(name, subject, mutant)


def _faults_at(revision: str) -> frozenset[str]:
    """The faults of all contracts of a git revision."""

    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=ROOT, check=True, capture_output=True, text=True).stdout

    paths = git("ls-tree", "-r", "--name-only", revision, "contracts").split()
    sources = [git("show", f"{revision}:{path}") for path in paths if path.endswith(".vy")]
    return frozenset(mutant.fault for source in sources for mutant in mutants(source))


def _judge_all(
    suite: Suite, due: list[Task], done: dict[str, dict[str, Any]], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """What became of each mutant, in the order in which they are finished."""
    sound = {name: load(name) for name in UNIT}
    for name in UNIT:
        check(name, ROOT)
    running: dict[int, tuple[Task, float, Fork]] = {}
    waiting = iter(due)
    while True:
        while len(running) < arguments.jobs and (task := next(waiting, None)):
            near = _nearest(task, done)
            child = fork(partial(_judge, suite, task, near, sound, arguments.unit))
            running[child.pid] = task, time.monotonic(), child
        if not running:
            return
        pid, status = os.wait()
        task, began, child = running.pop(pid)
        answer = child.collect(status)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        if "died" in answer:
            answer = {"outcome": "killed", "by": "the time limit"}
        yield {
            "mutant": task.name, "subject": task.subject, "line": task.mutant.line, "fault": task.mutant.fault,
            "outcome": answer["outcome"], "by": answer["by"], "seconds": round(time.monotonic() - began, 1),
        }  # fmt: skip


def _nearest(task: Task, done: dict[str, dict[str, Any]]) -> list[str]:
    """The tests that noticed the faults nearest to this one, nearest first."""
    found = sorted(
        (abs(one["line"] - task.mutant.line), one["by"])
        for one in done.values()
        if one["subject"] == task.subject and "::" in one["by"]
    )
    return list(dict.fromkeys(by for _, by in found))[:NEAR]


def _judge(suite: Suite, task: Task, near: list[str], sound: dict[str, Any], unit_only: bool) -> dict[str, Any]:
    """Compile one mutant into every contract that has it, and test them. In a process of its own."""
    changed = []
    with TemporaryDirectory() as scratch:
        contracts = Path(scratch) / "contracts"
        shutil.copytree(ROOT / "contracts", contracts)
        (contracts / task.subject).write_text(task.mutant.source)
        directory = Path(scratch) / "artifacts"
        directory.mkdir()
        for name, artifact in sound.items():
            if f"contracts/{task.subject}" not in artifact.source_hashes:
                continue
            try:
                code = creation_code(name, Path(scratch))
            except Exception:  # noqa: BLE001  # of any kind: some mutants run into faults of the compiler itself
                return {"outcome": "invalid", "by": ""}
            longer = len(code) - len(artifact.bytecode)
            if len(artifact.deployed_bytecode) + longer > LARGEST_CODE:
                return {"outcome": "invalid", "by": "too large"}
            if without_trailer(code) == without_trailer(artifact.bytecode):
                continue
            install(name, code, directory)
            changed.append(name)
            if failed := suite.first_failure([name], first=near):
                return {"outcome": "killed", "by": failed}
        if not changed:
            return {"outcome": "same", "by": ""}
        if not unit_only and (failed := suite.first_failure_together(changed, first=near)):
            return {"outcome": "killed", "by": failed}
        return {"outcome": "survived", "by": ""}


def equivalent() -> dict[tuple[str, str], str]:
    """Why a mutant that survives is no gap in the tests, by file and fault, from survivors.toml."""
    groups = tomllib.loads(SURVIVORS.read_text())["group"]
    return {
        (subject, fault): group["reason"]
        for group in groups
        for subject, faults in group["faults"].items()
        for fault in faults
    }


def report(
    tasks: Sequence[Task], done: dict[str, dict[str, Any]], reasons: dict[tuple[str, str], str], *, complete: bool
) -> str:
    """A table by file, what survived without a reason and, of `complete` files, reasons that no survivor needs."""
    rows = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    survivors = [task for task in tasks if done.get(task.name, {}).get("outcome") == "survived"]
    for subject in (*SUBJECTS, "all"):
        chosen = [task for task in tasks if subject in (task.subject, "all")]
        if not chosen:
            continue
        outcomes = Counter(done[task.name]["outcome"] if task.name in done else "not judged" for task in chosen)
        alike = sum(task.known_as in reasons for task in survivors if subject in (task.subject, "all"))
        killed, survived = outcomes["killed"], outcomes["survived"]
        counts = [outcomes[name] for name in ("not judged", "invalid", "same", "killed", "survived")]
        shares = [_share(killed, survived), _share(killed, survived - alike)]
        rows.append("| " + " | ".join(map(str, (subject, len(chosen), *counts, alike, *shares))) + " |")
    known = {task.known_as for task in survivors}
    rows += ["", "Survived without a reason:"]
    rows += [
        f"{task.subject}:{task.mutant.line} {task.mutant.fault}" for task in survivors if task.known_as not in reasons
    ]
    if complete:
        rows += ["", "Reasons that no survivor needs:"]
        rows += [f"{subject} {fault}" for subject, fault in reasons if (subject, fault) not in known]
    return "\n".join(rows) + "\n"


def _share(killed: int, survived: int) -> str:
    return f"{100 * killed / (killed + survived):.1f} %" if killed + survived else "-"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(".mutation/results.jsonl"))
    parser.add_argument("--since", metavar="REVISION")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--survivors", action="store_true", help="judge again what survived without a reason")
    parser.add_argument("--unit", action="store_true", help="unit tests only")
    parser.add_argument("subjects", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
