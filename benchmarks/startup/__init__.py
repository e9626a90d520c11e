# SPDX-License-Identifier: Apache-2.0
"""Starting: whole processes of the command line and of a program that imports the clients, in milliseconds of CPU.

    make bench PARTS=startup

The floor is a process of Python that does nothing. What is measured runs from compiled files, as after an installation.
"""

from __future__ import annotations

import compileall
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import serving_network
from benchmarks.figures import Figure
from serving_network.cli.console.home import Home
from serving_network.clients import User
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.networks import NamedNetwork
from serving_network.testing import LocalNetwork, local_network

RUNS = 7
HELP_MS, LEDGER_MS, CLIENTS_MS = 120, 400, 300
_SERVING = "from serving_network.cli.main import app; app(prog_name='serving')"


def measure() -> list[Figure]:
    """All figures."""
    compileall.compile_dir(str(Path(serving_network.__file__).parent), quiet=2)
    with local_network() as network, network.served() as url, tempfile.TemporaryDirectory() as home:
        User(network.connection, LocalNetwork.signer(3)).open_ledger(3 * COIN)
        user = LocalNetwork.signer(3).address
        configuration = Home(Path(home))
        local = configuration.network("local")
        configuration.save_network(NamedNetwork("local", (url,), local.chain_id, local.ledger))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
        environment |= {"SERVING_HOME": home}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        nothing = _process("pass", environment)

        def serving(words: str, target: float | None = None) -> Figure:
            taken = _process(_SERVING, environment, *words.split())
            name = words.replace(user, "USER")
            return Figure(f"serving {name}", taken, "ms", "python -c pass", nothing, unit_target=target)

        return [
            serving("--help", HELP_MS),
            serving("ledger -h"),
            serving("up -h"),
            serving("key list"),
            serving("completion bash"),
            serving(f"ledger show {user}", LEDGER_MS),
            serving(f"account list --user {user}"),
            Figure(
                "import serving_network.clients",
                _process("import serving_network.clients", environment),
                "ms",
                "python -c pass",
                nothing,
                unit_target=CLIENTS_MS,
            ),
            Figure(
                "import aiohttp, which asks a node",
                _process("import asyncio, aiohttp", environment),
                "ms",
                "python -c pass",
                nothing,
            ),
        ]


def _process(program: str, environment: dict[str, str], *words: str) -> float:
    """The least CPU milliseconds of some processes: more is what else the machine does."""
    taken = []
    for _ in range(RUNS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", program, *words]
        subprocess.run(command, env=environment, capture_output=True, check=True)  # noqa: S603 - this interpreter
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * min(taken)
