# SPDX-License-Identifier: Apache-2.0
"""A chain in the process, the people of a network, and the network on it, with its files in an empty directory."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from vyper.cli import vyper_json

from serving_network.chain.connection import AsyncConnection
from serving_network.contracts import artifacts
from serving_network.deployment.deploy import new_record, plan_deployment
from serving_network.deployment.engine import RunOptions, carry_out
from serving_network.deployment.local import LOCAL
from serving_network.deployment.plan import Done
from serving_network.deployment.record import Record
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.spec import NetworkSpec
from serving_network.deployment.standard_json import standard_json
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.wallet.local import LocalSigner
from tests.shared import shared

Result = TypeVar("Result")


@dataclass(frozen=True)
class Bench:
    """One network under test. Each `run` opens a connection of its own, as each command of a person does."""

    chain: Any
    folder: Path
    owner: LocalSigner
    upgrade_owner: LocalSigner
    provider: LocalSigner
    user: LocalSigner
    tee_signer: LocalSigner
    stranger: LocalSigner

    @property
    def path(self) -> Path:
        return self.folder / "net.json"

    def file(self) -> RecordFile:
        return RecordFile.open(self.path)

    def record(self) -> Record:
        return self.file().record

    def run(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, Result]], chain: Any = None) -> Result:
        async def connected() -> Result:
            async with await AsyncConnection.open(chain or self.chain) as connection:
                return await work(connection)

        return asyncio.run(connected())

    def deploy(self, spec: NetworkSpec = LOCAL, chain: Any = None, account: LocalSigner | None = None) -> Done:
        async def work(connection: AsyncConnection) -> Done:
            who = account or self.owner
            if self.path.exists():
                file = self.file()
            else:
                file = RecordFile(self.path, await new_record(connection, "net", spec, who.address))
            plan = await plan_deployment(connection, spec, file.record, who.address)
            options = RunOptions(confirmations=spec.confirmations, estimate=False, timeout=2)
            return await carry_out(connection, who, file, plan, options)

        return self.run(work, chain)

    def nonce(self, who: LocalSigner) -> int:
        return int(self.chain.request("eth_getTransactionCount", [who.address, "latest"]), 16)


@pytest.fixture(scope="session", autouse=True)
def compiler_asked_once() -> Iterator[None]:
    """The compiler is asked for each standard JSON input once: for those of the three large contracts by the build,
    which takes seconds, and for others by the first test that needs it."""
    large = [artifacts.load(name) for name in ("LedgerManager", "InferenceServing", "FineTuningServing")]
    built = {_key(standard_json(one).content): _output(one) for one in large}
    compile_json = vyper_json.compile_json

    def once(content: dict[str, Any], *further: Any) -> Any:
        key = _key(content)
        return built.get(key) or shared(f"standard JSON {key}", lambda: compile_json(content, *further))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vyper_json, "compile_json", once)
        yield


def _key(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)


def _output(artifact: artifacts.Artifact) -> dict[str, Any]:
    """What the compiler gave for the artifact's standard JSON input."""
    (path,) = artifact.standard_json["settings"]["outputSelection"]
    code = {"bytecode": artifact.bytecode, "deployedBytecode": artifact.deployed_bytecode}
    return {
        "contracts": {
            path: {artifact.name: {"evm": {part: {"object": "0x" + made.hex()} for part, made in code.items()}}}
        }
    }


def new_bench(chain: EmbeddedChain, folder: Path) -> Bench:
    keys = [LocalSigner(key.to_bytes()) for key in development_keys()]
    return Bench(chain, folder, *keys[:6])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return new_bench(EmbeddedChain(), tmp_path)


@pytest.fixture(scope="session")
def deployed_once(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A network that is only copied."""
    made = new_bench(EmbeddedChain(), tmp_path_factory.mktemp("deployed"))
    made.deploy()
    return made


@pytest.fixture
def network(deployed_once: Bench, tmp_path: Path) -> Bench:
    """As `bench`, with everything deployed."""
    made = new_bench(deployed_once.chain.copy(), tmp_path)
    made.path.write_bytes(deployed_once.path.read_bytes())
    return made


@pytest.fixture
def other_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of artifacts that tests may change, in place of the package's own."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for path in artifacts.DIRECTORY.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(artifacts, "DIRECTORY", folder)
    artifacts.load.cache_clear()
    yield folder
    artifacts.load.cache_clear()


class Killed(BaseException):
    """The process is gone: nothing after this point was done."""


class DyingChain:
    """A chain whose caller is killed when it calls `method` for the `nth` time, before or after the chain did it."""

    def __init__(self, chain: EmbeddedChain, method: str, nth: int, *, after: bool) -> None:
        self._chain = chain
        self._method = method
        self._left = nth
        self._after = after

    def request(self, method: str, params: list[Any]) -> Any:
        if method != self._method:
            return self._chain.request(method, params)
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        answer = self._chain.request(method, params)
        if self._left == 0:
            raise Killed
        return answer


class LyingChain:
    """A node that gives the answers of `lies` instead of its own."""

    def __init__(self, chain: EmbeddedChain, lies: dict[str, Any]) -> None:
        self._chain = chain
        self._lies = lies

    def request(self, method: str, params: list[Any]) -> Any:
        if method in self._lies:
            return self._lies[method]
        return self._chain.request(method, params)
