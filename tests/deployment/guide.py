# SPDX-License-Identifier: Apache-2.0
"""Run the commands of docs/operations.md on a chain of its own, and compare or rewrite what they print.

The guide is its own script. Every `console` block holds commands (`$ serving ...`, `$ cat ...`) and their output;
a `toml` block that begins with `# FILE` is appended to that file; and a comment `<!-- step: NAME -->` lets something
happen between two commands that a reader cannot do: people use the network, a release comes out, a run is killed.

    python -m tests.deployment.guide        rewrite the output in docs/operations.md
"""

import asyncio
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from serving_network.chain.connection import AsyncConnection
from serving_network.contracts import artifacts
from serving_network.contracts.build.artifacts import ROOT
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.localchain.server import ChainServer
from serving_network.wallet.keys import KeyStore
from serving_network.wallet.local import LocalSigner
from tests.deployment import people, variants
from tests.deployment.conftest import Bench, Killed

GUIDE = ROOT / "docs" / "operations.md"
CONFIGURATION = "config.toml"
GENESIS = 1_790_000_000
SECONDS_A_BLOCK = 12
COLUMNS = "118"
ANSI = re.compile(r"\x1b\[[0-9;]*m")
BLOCK = re.compile(r"^```(console|toml)\n(.*?)^```$|^<!-- step: (.*?) -->$", re.MULTILINE | re.DOTALL)


class SteadyChain(EmbeddedChain):
    """A chain whose blocks are 12 seconds apart, whatever the clock says, so that its hashes are always the same.
    `dies_at` counts down to the transaction at which whoever sends is killed."""

    dies_at = 0

    def request(self, method: str, params: Any = ()) -> Any:
        if method == "eth_sendRawTransaction":
            head = super().request("eth_getBlockByNumber", ["latest", False])
            super().request("evm_setNextBlockTimestamp", [hex(int(head["timestamp"], 16) + SECONDS_A_BLOCK)])
        return super().request(method, params)


class Terminal(io.StringIO):
    """What a person sees."""

    def isatty(self) -> bool:
        return True


class Guide:
    """One run through the guide, in an empty directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain = SteadyChain(genesis_time=GENESIS)
        keys = [LocalSigner(key.to_bytes()) for key in development_keys()]
        (folder / "networks").mkdir()
        self.bench = Bench(self.chain, folder / "networks", *keys[:6])
        self.home = folder / "home"
        self.home.mkdir()
        store = KeyStore(self.home / "keys", scrypt_work=2)
        store.directory.mkdir()
        for name, key in (("deployer", keys[0]), ("foundation", keys[1])):
            store.add(name, key, "secret")
        self.released = artifacts.DIRECTORY
        self._dies_at: int | None = None
        self.exit_code = 0

    def copy(self, folder: Path) -> "Guide":
        """A run in another empty directory, with the same networks and configuration, and a copy of the chain."""
        twin = Guide(folder)
        twin.chain = self.chain.copy()
        twin.bench = replace(twin.bench, chain=twin.chain)
        shutil.copytree(self.folder / "networks", folder / "networks", dirs_exist_ok=True)
        shutil.copy(self.home / CONFIGURATION, twin.home)
        return twin

    def play(self, text: str) -> str:
        """The guide's text with the output of this run."""
        with self.playing():
            return BLOCK.sub(self._block, text)

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """Inside, commands can be typed: the chain is served, and the environment is a person's."""
        with self._served() as url, self._environment(url):
            yield

    def _block(self, match: re.Match[str]) -> str:
        kind, content, step = match.groups()
        if step is not None:
            getattr(self, step.partition(" ")[0])(*step.split()[1:])
            return match.group()
        if kind == "toml":
            self._write(content)
            return match.group()
        commands = [line for line in content.splitlines() if line.startswith("$ ")]
        return "```console\n" + "\n".join(f"{one}\n{self.type(one[2:])}" for one in commands) + "```"

    def _write(self, content: str) -> None:
        found = re.match(r"# (\S+/\S+)\n", content)
        if found is not None:
            with (self.folder / found.group(1)).open("a") as file:
                file.write(content)

    def type(self, command: str) -> str:
        """What a command prints; its exit code is in `exit_code`."""
        words = shlex.split(command)
        if words[0] == "cat":
            return (self.folder / words[1]).read_text()
        if words[0] == "ls":
            return "".join(
                f"{path.name}\n" for path in sorted((self.folder / words[1]).iterdir()) if not path.name.startswith(".")
            )
        if command == "echo $?":
            return f"{self.exit_code}\n"
        terminal = Terminal()
        with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal), self._killer():
            try:
                self.exit_code = self._serving(words[1:]) or 0
            except Killed:
                terminal.write("Killed\n")
        lines = (line.rstrip() for line in ANSI.sub("", terminal.getvalue()).splitlines())
        return "".join(f"{line}\n" for line in lines)

    def _serving(self, arguments: list[str]) -> Any:
        from typer.main import get_command

        from serving_network.cli.main import app

        return get_command(app).main(arguments, prog_name="serving", standalone_mode=False)

    @contextlib.contextmanager
    def _killer(self) -> Iterator[None]:
        """Kill the next command at its chosen transaction, once that was sent."""
        left, self._dies_at = self._dies_at, None
        if left is None:
            yield
            return
        sent = [0]
        broadcast = AsyncConnection.broadcast

        async def deadly(chain: AsyncConnection, signed: Any) -> str:
            answer = await broadcast(chain, signed)
            sent[0] += 1
            if sent[0] == left:
                raise Killed
            return answer

        with mock.patch.object(AsyncConnection, "broadcast", deadly):
            yield

    @contextlib.contextmanager
    def _environment(self, url: str) -> Iterator[None]:
        configuration, urls = self.home / CONFIGURATION, f'urls = ["{url}"]'
        if configuration.exists():
            configuration.write_text(re.sub(r"urls = .*", urls, configuration.read_text(), count=1))
        else:
            configuration.write_text(
                f'network = "mine"\n[networks.mine]\n{urls}\nchain_id = 31337\n'
                f'[addresses]\nfoundation = "{self.bench.upgrade_owner.address}"\n'
            )
        values = {
            "SERVING_HOME": str(self.home),
            "SERVING_PASSWORD": "secret",
            "COLUMNS": COLUMNS,
            "TERM": "xterm",
            "NO_COLOR": "1",
            "TZ": "UTC",
        }
        unset = [name for name in ("SERVING_PRIVATE_KEY", "SERVING_KEY", "SERVING_NETWORK") if name in os.environ]
        with contextlib.ExitStack() as ending:
            ending.callback(time.tzset)  # last, when TZ is what it was
            ending.enter_context(mock.patch.dict(os.environ, values))
            ending.enter_context(contextlib.chdir(self.folder))
            for name in unset:
                del os.environ[name]
            time.tzset()
            try:
                yield
            finally:
                artifacts.DIRECTORY = self.released
                artifacts.load.cache_clear()

    @contextlib.contextmanager
    def _served(self) -> Iterator[str]:
        server = ChainServer(self.chain, port=0)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server.url
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    # What happens between two commands

    def kill_at(self, nth: str) -> None:
        """The next command is killed right after it has sent its nth transaction."""
        self._dies_at = int(nth)

    def people_come(self) -> None:
        """A provider registers and is confirmed; two users pay in, and one of them asks everything back."""
        people.open_accounts(self._named_bench())

    def new_release(self) -> None:
        """A release with another ledger is installed."""
        variants.rebuild(self._own_artifacts(), "LedgerManager")

    def bad_release(self) -> None:
        """A release is installed whose inference service has two variables in another order."""
        variants.lay_out_again(
            self._own_artifacts(),
            "InferenceServing",
            "serving/ownable.vy",
            (
                (r"^owner: public\(address\)$", "former: address"),
                (r"^pendingOwner: public\(address\)$", "pendingOwner: public(address)\nowner: public(address)"),
            ),
        )

    def first_release(self) -> None:
        """The release that was there at the beginning is installed again."""
        shutil.rmtree(self._own_artifacts())
        artifacts.DIRECTORY = self.released
        artifacts.load.cache_clear()

    def foundation_follows(self) -> None:
        """The foundation sends what its instructions ask for."""
        bench = self._named_bench()

        async def work(chain: AsyncConnection) -> None:
            for one in bench.record().open_instructions:
                await chain.send(bench.upgrade_owner, one.to, bytes.fromhex(one.data.removeprefix("0x")))

        bench.run(work)

    def _named_bench(self) -> Bench:
        return NamedBench(**vars(self.bench))

    def _own_artifacts(self) -> Path:
        folder = self.folder / "artifacts"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.released, folder)
        artifacts.DIRECTORY = folder
        artifacts.load.cache_clear()
        return folder


class NamedBench(Bench):
    """A bench on the guide's network."""

    @property
    def path(self) -> Path:
        return self.folder / "mine.json"


def main(write: Callable[[str], object]) -> None:
    """Rewrite the guide's output."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        GUIDE.write_text(Guide(Path(folder)).play(GUIDE.read_text()))
    write(f"{GUIDE} is up to date\n")


if __name__ == "__main__":
    main(sys.stdout.write)
