# SPDX-License-Identifier: Apache-2.0
"""The long campaign: the state machine on revm, in shards that survive being stopped.

    python -m tests.stateful.campaign --sequences 10000 --results .campaign/results.jsonl

Each shard is 100 sequences of 50 actions from a seed of its own, and one line in the results: what it ran, how long
it took, how often each event, error and status came up, and the failure, if any. After each shard the summary tells
what none has reached yet, so that a rule that reaches nothing shows. Shards that are there already, for the same
compiled contracts and the same machine, are not run again: stop it whenever you like, and start it with the same
command. `--worker 0/2` and `1/2` share the work. The exit status says whether any shard has failed.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from serving_network.contracts import load
from tests.evm import Evm
from tests.results import add, read
from tests.stateful import revm
from tests.stateful.machine import ServingMachine
from tests.stateful.reach import never_reached
from tests.stateful.world import ARTIFACTS

SHARD = 100
STEPS = 50
HERE = Path(__file__).parent


def main() -> int:
    arguments = _arguments()
    subject = fingerprint()
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    done = {one["seed"]: one for one in read(arguments.results) if one["subject"] == subject}
    worker, workers = (int(part) for part in arguments.worker.split("/"))
    for number in range(-(-arguments.sequences // SHARD)):
        if number in done or number % workers != worker:
            continue
        found = run(number, revm.Revm if revm.available else Evm) | {"subject": subject}
        done[number] = found
        add(arguments.results, found)
        sys.stdout.write(summary(list(done.values())) + "\n")
        sys.stdout.flush()
    return int(any(one["failure"] for one in done.values()))


def run(number: int, evm: type[Evm]) -> dict[str, Any]:
    """One shard, from its own seed."""
    machine: type[ServingMachine] = seed(number)(
        type("ServingMachine", (ServingMachine,), {"evm": evm, "seen": Counter()})
    )
    how = settings(
        max_examples=SHARD,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    began = time.monotonic()
    failure = ""
    try:
        run_state_machine_as_test(machine, settings=how)
    except Exception as error:  # noqa: BLE001 - whatever failed is the result of the shard
        steps = "\n".join(getattr(error, "__notes__", []))
        failure = "".join(traceback.format_exception(error, limit=-4)) + steps
    return {
        "seed": number,
        "sequences": SHARD,
        "steps": STEPS,
        "seconds": round(time.monotonic() - began, 1),
        "evm": evm.__name__,
        "seen": dict(machine.seen),
        "failure": failure,
    }


def fingerprint() -> str:
    """What is tested and by what: a hash of the contracts' code and of the machine's sources."""
    hashed = hashlib.sha256()
    for name in sorted({*ARTIFACTS.values(), "BeaconProxy", "UpgradeableBeacon"}):
        hashed.update(load(name).bytecode)
    sources = ("model.py", "foreign.py", "actions.py", "machine.py", "world.py", "revm.py", "Puppet.vy", "Foreign.vy")
    for path in sources:
        hashed.update((HERE / path).read_bytes())
    return hashed.hexdigest()[:16]


def summary(shards: list[dict[str, Any]]) -> str:
    sequences = sum(one["sequences"] for one in shards)
    seconds = sum(one["seconds"] for one in shards)
    failed = [one["seed"] for one in shards if one["failure"]]
    seen: Counter[str] = Counter()
    for one in shards:
        seen.update(one["seen"])
    missing = ", ".join(never_reached(seen)) or "nothing"
    return (
        f"{sequences} sequences in {seconds / 60:.1f} minutes, failed seeds: {failed or 'none'}, "
        f"never reached: {missing}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=Path(".campaign/results.jsonl"))
    parser.add_argument("--worker", default="0/1")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
