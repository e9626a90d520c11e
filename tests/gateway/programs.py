# SPDX-License-Identifier: Apache-2.0
"""The gateway and other commands as programs of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from serving_network.cli.console.home import Home
from serving_network.networks import BUILT_IN, NamedNetwork
from serving_network.store.location import Location
from tests import zygote
from tests.clients.network_fixture import TEE_KEY
from tests.gateway.stage import Stage

PASSWORD = "a long password"


def environment(home: Path) -> dict[str, str]:
    """The variables of a program with this home and the TEE's key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
    return kept | {"SERVING_HOME": str(home), "SERVING_TEE_KEY": TEE_KEY.hex()}


class Program:
    """A process of `serving WORDS` whose output is read; its errors go where the test's go."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self.returncode: int | None = None
        reading, writing = os.pipe()
        self._output = os.fdopen(reading, encoding="utf-8")
        try:
            with Path(os.devnull).open("rb") as nothing:
                streams = (nothing.fileno(), writing, 2)
                self.pid = zygote.start(words, environment=environment, directory=Path.cwd(), streams=streams)
        finally:
            os.close(writing)

    def printed(self) -> Any:
        """The JSON object that it prints first."""
        lines: list[str] = []
        while not (lines and lines[-1].endswith("}\n")):
            lines.append(self._output.readline())
            assert lines[-1], "".join(lines)
        return json.loads("".join(lines))

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        if self.returncode is None:
            _, status = await asyncio.to_thread(os.waitpid, self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            self._output.close()
        return self.returncode


async def stop(process: Program, number: signal.Signals) -> None:
    process.send_signal(number)
    await process.wait()


@asynccontextmanager
async def program(
    stage: Stage, home: Path, *more: str, **variables: str
) -> AsyncIterator[tuple[Program, dict[str, Any]]]:
    """The gateway as a program of its own, and what it printed."""
    process = await asyncio.to_thread(Program, run_words(home, stage.store, *more), environment(home) | variables)
    try:
        async with asyncio.timeout(600):
            printed = await asyncio.to_thread(process.printed)
        yield process, printed
    finally:
        await stop(process, signal.SIGKILL)


def run_words(home: Path, store: Location, *more: str) -> list[str]:
    """The command that runs the gateway of `write_home`."""
    words = ["gateway", "run", "--json", "--network", "test", "--settings", str(home / "gateway.toml")]
    return [*words, "--journal", str(store), *more]


def write_home(stage: Stage, home: Path, upstream: str) -> None:
    local = BUILT_IN["local"]
    Home(home).save_network(NamedNetwork("test", (stage.url,), local.chain_id, local.ledger))
    settings = f'provider = "{stage.world.provider.address}"\nupstream = "{upstream}"\nport = 0\n'
    (home / "gateway.toml").write_text(settings)


async def serving(home: Path, *words: str) -> tuple[int, Any]:
    """The exit code of a command, and its JSON: the result, or the failure."""
    code, text = await printed_by(home, *words, "--json")
    return code, json.loads(text)


async def printed_by(home: Path, *words: str) -> tuple[int, str]:
    """The exit code of a command, and what it printed: its result, or if there is none, its failure."""
    own = environment(home) | {"SERVING_PASSWORD": PASSWORD}

    def run() -> tuple[int, str]:
        with closing(zygote.Piped([*words, "--network", "test"], environment=own)) as process:
            out, err = process.communicate(timeout=600)
            return process.returncode or 0, out or err

    return await asyncio.to_thread(run)
