# SPDX-License-Identifier: Apache-2.0
"""Run the published TypeScript clients against a gateway whose signer is in dstack: `make test-sdk`.

It needs node and npm, and is not part of `make test`, which must pass with Python alone. The network, the gateway and
the commands that set them up are programs, as providers run them; the model server and dstack are stand-ins.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from serving_network.cli.console.home import Home
from serving_network.demo.model_server import model_server
from serving_network.demo.selling import OWNER, PROVIDER, USER
from serving_network.networks import BUILT_IN, NamedNetwork
from tests.dstack_agent import dstack_agent

HERE = Path(__file__).parent
MODEL = "stand-in"


class Setting:
    """The commands of one provider's machine, with a directory of their own."""

    def __init__(self, home: Path, agent: str) -> None:
        self.home = home
        own = {"SERVING_HOME": str(home), "SERVING_NETWORK": "test", "DSTACK_SIMULATOR_ENDPOINT": agent}
        self._environment = {key: one for key, one in os.environ.items() if not key.startswith("SERVING_")} | own

    @asynccontextmanager
    async def program(self, *words: str) -> AsyncIterator[dict[str, Any]]:
        """A command that runs until it is stopped, and the JSON that it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "serving_network", *words, "--json"),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            text = await process.stdout.readline()
            while text.rstrip()[-1:] != b"}":
                text += await process.stdout.readuntil(b"\n")
            yield json.loads(text)
        finally:
            process.terminate()
            await process.wait()

    async def run(self, key: str, *words: str) -> Any:
        """The JSON of a command that ends, with this private key."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "serving_network", *words, "--json"),
            env=self._environment | {"SERVING_PRIVATE_KEY": key},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise SystemExit(f"serving {' '.join(words)} ended with {process.returncode}")
        return json.loads(out)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def main() -> int:
    """The exit status of the client."""
    with TemporaryDirectory(prefix="sdk-") as folder:
        home = Path(folder)
        async with model_server() as upstream, dstack_agent(home / "dstack.sock") as agent:
            setting = Setting(home, agent.socket)
            async with setting.program("up", "--port", "0") as network:
                local = BUILT_IN["local"]
                Home(home).save_network(NamedNetwork("test", (network["url"],), local.chain_id, local.ledger))
                owner, provider, user = (network["accounts"][number] for number in (OWNER, PROVIDER, USER))
                port = free_port()
                settings = ["--settings", str(home / "gateway.toml")]
                words = ["--upstream", upstream, "--url", f"http://127.0.0.1:{port}", "--port", str(port)]
                words += ["--model", MODEL, "--input-price", "1000 gwei", "--output-price", "4000 gwei"]
                words += ["--signer", "dstack", "--yes"]
                await setting.run(provider["private_key"], "gateway", "init", *settings, *words)
                await setting.run(owner["private_key"], "signer", "confirm", provider["address"], "--yes")
                await setting.run(user["private_key"], "ledger", "open", "10", "--yes")
                await setting.run(user["private_key"], "ledger", "fund", provider["address"], "5", "--yes")
                made = await setting.run(user["private_key"], "token", "make", provider["address"])
                log = str(home / "gateway.log")
                async with setting.program("gateway", "run", *settings, "--log-file", log) as gateway:
                    sold = {"url": gateway["url"], "model": MODEL, "signer": agent.address()}
                    sold |= {"provider": provider["address"], "user": user["address"]}
                    sold |= {"api_key": made["authorization"].removeprefix("Bearer ")}
                    given = json.dumps(network | {"gateway": sold})
                    return await asyncio.to_thread(_client, given)


def _client(network: str) -> int:
    return subprocess.run(["node", "client.mjs", network], cwd=HERE, check=False).returncode


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
