"""Mutation testing of the contracts: does the fast suite notice a small fault?

    python -m tests.mutation.run --results .mutation/results.jsonl [--sample 200] [ledger/LedgerManager.vy ...]

Every mutant that compiles to other code is given to a short run of the state machine, which notices most in seconds,
and then to the unit tests of its contract, in a copy of the checkout. A line of the results says what became of it:

| outcome | meaning |
|---|---|
| killed | a test failed |
| survived | every test passed |
| invalid | it does not compile |
| same | it compiles to the same code |

What is in the results for the same source is not run again: stop it whenever you like. `--sample` takes that many
mutants of each file, drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
COPIED = ("contracts", "src", "tests", "hatch_build.py", "pyproject.toml")
LEDGER, INFERENCE, FINE_TUNING = "tests/unit/ledger", "tests/unit/inference", "tests/unit/fine_tuning"
MACHINE = "tests/stateful/test_machine.py"
SUBJECTS: dict[str, tuple[str, ...]] = {
    "ledger/LedgerManager.vy": (MACHINE, LEDGER),
    "ledger/registry.vy": (MACHINE, LEDGER),
    "serving/accounts.vy": (MACHINE, INFERENCE, FINE_TUNING),
    "serving/services.vy": (MACHINE, INFERENCE, FINE_TUNING),
    "serving/lists.vy": (MACHINE, INFERENCE, LEDGER),
    "serving/payouts.vy": (MACHINE, INFERENCE, FINE_TUNING),
    "serving/tee.vy": (MACHINE, INFERENCE, FINE_TUNING),
    "inference/InferenceServing.vy": (MACHINE, INFERENCE),
    "inference/batches.vy": (MACHINE, INFERENCE),
    "inference/tokens.vy": (MACHINE, INFERENCE),
    "fine_tuning/FineTuningServing.vy": (MACHINE, FINE_TUNING),
    "fine_tuning/deliverables.vy": (MACHINE, FINE_TUNING),
    "fine_tuning/verifier.vy": (MACHINE, FINE_TUNING),
}
LONGEST = 900


def main() -> int:
    arguments = _arguments()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = {one["mutant"]: one for one in _read(arguments.results)}
    with TemporaryDirectory() as scratch:
        copy = Checkout(Path(scratch))
        for subject in arguments.subjects or SUBJECTS:
            found = list(mutants((ROOT / "contracts" / subject).read_text()))
            if arguments.sample:
                drawn = random.Random(subject).sample(range(len(found)), min(arguments.sample, len(found)))
                found = [found[index] for index in sorted(drawn)]
            for mutant in found:
                name = hashlib.sha256(f"{subject}\n{mutant.source}".encode()).hexdigest()[:16]
                if name not in done:
                    done[name] = {"mutant": name} | copy.judge(subject, mutant)
                    with arguments.results.open("a") as results:
                        results.write(json.dumps(done[name]) + "\n")
                sys.stdout.write(f"{done[name]['outcome']:9}{subject}:{mutant.line} {mutant.fault}\n")
                sys.stdout.flush()
    sys.stdout.write(summary(list(done.values())))
    return 0


class Checkout:
    """A copy of the repository in which sources may be broken."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy(source, root / name)
        self._artifacts = root / "src/serving_network/contracts/artifacts"
        assert self._run("serving_network.contracts.build") == 0, "the contracts do not compile as they are"
        self._sound = {path.name: path.read_bytes() for path in self._artifacts.glob("*.json")}

    def judge(self, subject: str, mutant: Mutant) -> dict[str, Any]:
        """Compile and test one mutant, and mend the copy."""
        began = time.monotonic()
        path = self._root / "contracts" / subject
        sound = path.read_text()
        path.write_text(mutant.source)
        try:
            outcome, by = self._outcome(subject)
        finally:
            path.write_text(sound)
            for name, content in self._sound.items():
                (self._artifacts / name).write_bytes(content)
        seconds = round(time.monotonic() - began, 1)
        return {
            "subject": subject, "line": mutant.line, "fault": mutant.fault,
            "outcome": outcome, "by": by, "seconds": seconds,
        }  # fmt: skip

    def _outcome(self, subject: str) -> tuple[str, str]:
        if self._run("serving_network.contracts.build") != 0:
            return "invalid", ""
        if all(self._code(self._sound[path.name]) == self._code(path.read_bytes()) for path in self._changed()):
            return "same", ""
        for tests in SUBJECTS[subject]:
            if self._run("pytest", "-x", "-q", "-p", "no:cacheprovider", tests) != 0:
                return "killed", tests
        return "survived", ""

    def _changed(self) -> list[Path]:
        return [path for path in self._artifacts.glob("*.json") if path.read_bytes() != self._sound[path.name]]

    @staticmethod
    def _code(artifact: bytes) -> str:
        bytecode: str = json.loads(artifact)["bytecode"]
        return bytecode

    def _run(self, *module: str) -> int:
        """Run a Python module on the copy. A test that does not end has noticed the fault, too."""
        environment = os.environ | {"PYTHONPATH": f"{self._root / 'src'}:{self._root}", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            return subprocess.run(
                [sys.executable, "-m", *module], cwd=self._root, env=environment, capture_output=True,
                timeout=LONGEST, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return 1


def summary(results: list[dict[str, Any]]) -> str:
    """A table by file: how many mutants there were, how many were killed, and what share of those that count."""
    rows = ["| file | mutants | do not compile | same code | killed | survived | killed of those that count |"]
    rows.append("|---|---|---|---|---|---|---|")
    for subject in SUBJECTS:
        found = [one["outcome"] for one in results if one["subject"] == subject]
        if found:
            killed, survived = found.count("killed"), found.count("survived")
            share = f"{100 * killed / (killed + survived):.1f} %" if killed + survived else "-"
            counts = (len(found), found.count("invalid"), found.count("same"), killed, survived, share)
            rows.append(f"| {subject} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join(rows) + "\n"


def _read(path: Path) -> list[dict[str, Any]]:
    """The results so far; half a line, left by a kill, is none."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(".mutation/results.jsonl"))
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("subjects", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
