# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving_network.chain.transport import Transport, transport_to
from serving_network.cli.console.home import Home
from serving_network.cli.main import app
from serving_network.networks import NamedNetwork
from serving_network.wallet.keys import KeyStore
from tests.clients.network_fixture import TakingTurns, World, deployed_world, signer

PASSWORD = "a long password"


@dataclass
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass
class Terminal:
    """Runs `serving` with a home of its own."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str, code: int | None = 0, stdin: str = "", **environment: str) -> Result:
        """Run it in this process; `code` is the exit code that it must end with, None for any."""
        variables: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("SERVING_"))
        ended = CliRunner().invoke(app, words, input=stdin, env=variables | self.own_variables() | environment)
        result = Result(ended.exit_code, ended.stdout, ended.stderr)
        assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
        assert code is None or result.code == code, result
        return result

    def program(self, *words: str, code: int | None = 0, stdin: str = "", **environment: str) -> Result:
        """Run it as people do: as a program of its own."""
        ended = subprocess.run(
            [sys.executable, "-m", "serving_network", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            env=self.variables() | environment,
            check=False,
        )
        result = Result(ended.returncode, ended.stdout, ended.stderr)
        assert code is None or result.code == code, result
        return result

    def own_variables(self) -> dict[str, str]:
        """What is set for `serving` alone."""
        return {"SERVING_HOME": str(self.home), "SERVING_PASSWORD": PASSWORD} | self.environment

    def variables(self) -> dict[str, str]:
        """The environment that it runs in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_")}
        return kept | self.own_variables()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which no node answers, whatever else runs here: its port is held, and not listened at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[World, str]]:
    """A deployed network that programs outside this process can reach, and its address."""
    with deployed_world() as world, world.network.served() as url:
        yield world, url


@pytest.fixture
def world(served: tuple[World, str]) -> Iterator[World]:
    deployed, _ = served
    with deployed.network.reset_afterwards():
        yield deployed


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key store with a key for each role, cheap to open."""
    directory = tmp_path_factory.mktemp("keys")
    store = KeyStore(directory, scrypt_work=2)
    for number, role in enumerate(("owner", "provider", "other-provider", "user", "other-user", "stranger")):
        store.add(role, signer(number), PASSWORD)
    return directory


@pytest.fixture
def lonely(tmp_path: Path) -> Terminal:
    """`serving` in an empty home."""
    return Terminal(tmp_path)


@pytest.fixture
def serving(
    served: tuple[World, str],
    world: World,  # noqa: ARG001 - puts the chain back after the test
    keys: Path,
    tmp_path: Path,
) -> Terminal:
    """`serving` with the network in use, and a key for each role of which the user's is in use."""
    _, url = served
    (tmp_path / "keys").symlink_to(keys)
    configuration = Home(tmp_path)
    local = configuration.network("local")
    configuration.save_network(NamedNetwork("local", (url,), local.chain_id, local.ledger))
    configuration.use_key("user")
    return Terminal(tmp_path)


@pytest.fixture
def without_http(served: tuple[World, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands ask the served chain itself: for tests of what they do, not of how they reach a node."""
    world, url = served

    def transport(target: str, timeout: float) -> Transport:
        return TakingTurns(world.chain) if target == url else transport_to(target, timeout)

    monkeypatch.setattr("serving_network.chain.reading.transport_to", transport)
