# SPDX-License-Identifier: Apache-2.0
"""The gateway and other commands as programs of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from serving_network.cli.home import Home
from serving_network.networks import BUILT_IN, NamedNetwork
from tests.clients.network_fixture import TEE_KEY
from tests.gateway.stage import Stage

PASSWORD = "a long password"


def environment_without_serving() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}


async def stop(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)
    await process.wait()


@asynccontextmanager
async def program(
    stage: Stage, home: Path, *more: str, **variables: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The gateway as a program of its own, and what it printed."""
    words = ["gateway", "run", "--json", "--network", "test", "--settings", str(home / "gateway.toml")]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "serving_network", *words, "--journal", str(stage.store), *more),
        env=environment_without_serving() | {"SERVING_HOME": str(home), "SERVING_TEE_KEY": TEE_KEY.hex()} | variables,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            printed = json.loads(await process.stdout.readuntil(b"}\n"))
        yield process, printed
    finally:
        await stop(process, signal.SIGKILL)


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
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "serving_network", *words, "--network", "test"),
        env=environment_without_serving()
        | {"SERVING_HOME": str(home), "SERVING_TEE_KEY": TEE_KEY.hex(), "SERVING_PASSWORD": PASSWORD},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, (out or err).decode()
