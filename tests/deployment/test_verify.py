# SPDX-License-Identifier: Apache-2.0
"""Verification: the compiler's input, and clients of the two services against servers that speak their protocols.

The servers do what the real ones do with a submission: they compile it, and compare with the code on chain.
"""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from vyper.cli import vyper_json

from serving_network.contracts import load
from serving_network.deployment.blockscout import Blockscout, BlockscoutResult
from serving_network.deployment.bytecode import code_problem, front_code
from serving_network.deployment.errors import NothingToCompile, NotReproduced, VerifierFailed
from serving_network.deployment.sourcify import Sourcify, SourcifyResult
from serving_network.deployment.standard_json import SOURCES, StandardJson, check_recompiled, standard_json
from serving_network.errors import InvalidInput

from .conftest import Bench

BEACON = "UpgradeableBeacon"
COMPILER = "0.4.3+commit.bff19ea2"

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def beacon_input() -> StandardJson:
    return standard_json(load(BEACON))


def compiled(content: dict[str, Any], identifier: str) -> bytes | None:
    """The deployed code that a submission gives; None when it does not compile."""
    path, name = identifier.split(":")
    output = vyper_json.compile_json(content, vyper_json.exc_handler_to_dict)
    if path not in output.get("contracts", {}):
        return None
    code: str = output["contracts"][path][name]["evm"]["deployedBytecode"]["object"]
    return bytes.fromhex(code.removeprefix("0x"))


@dataclass
class Service:
    """A verification service over a chain. `moods` are answers that it gives instead, one each, before its own."""

    bench: Bench
    verified: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    moods: list[web.Response] = field(default_factory=list)
    offers: dict[str, Any] = field(
        default_factory=lambda: {
            "verification_options": ["vyper-standard-input"],
            "vyper_compiler_versions": [f"v{COMPILER}"],
        }
    )

    def matches(self, address: str, code: bytes | None) -> bool:
        found = bytes.fromhex(self.bench.chain.request("eth_getCode", [address, "latest"]).removeprefix("0x"))
        return bool(code) and found.startswith(code or b"-")

    @web.middleware
    async def mood(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        return self.moods.pop(0) if self.moods else await handler(request)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.mood], client_max_size=10**8)
        app.add_routes(
            [
                web.get("/v2/contract/{chain}/{address}", self.sourcify_known),
                web.post("/v2/verify/{chain}/{address}", self.sourcify_verify),
                web.get("/v2/verify/{job}", self.sourcify_job),
                web.get("/api/v2/smart-contracts/verification/config", self.blockscout_config),
                web.get("/api/v2/smart-contracts/{address}", self.blockscout_known),
                web.post(
                    "/api/v2/smart-contracts/{address}/verification/via/vyper-standard-input", self.blockscout_verify
                ),
            ]
        )
        return app

    async def sourcify_known(self, request: web.Request) -> web.Response:
        match = self.verified.get(request.match_info["address"])
        body = {"match": match, "creationMatch": match, "runtimeMatch": match, "chainId": request.match_info["chain"]}
        return web.json_response(body, status=200 if match else 404)

    async def sourcify_verify(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        if address in self.verified:
            return web.json_response(
                {"customCode": "already_verified", "message": "verified already", "errorId": "1"}, status=409
            )
        body = await request.json()
        assert set(body) == {"stdJsonInput", "compilerVersion", "contractIdentifier", "creationTransactionHash"}
        assert body["compilerVersion"] == COMPILER
        job = f"job-{len(self.jobs)}"
        if self.matches(address, compiled(body["stdJsonInput"], body["contractIdentifier"])):
            self.verified[address] = "match"
            self.jobs[job] = {"contract": {"match": "match", "creationMatch": "match", "runtimeMatch": "match"}}
        else:
            self.jobs[job] = {
                "contract": {"match": None},
                "error": {"customCode": "no_match", "message": "The bytecodes do not match", "errorId": "2"},
            }
        return web.json_response({"verificationId": job}, status=202)

    async def sourcify_job(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["job"]]
        done = job.get("seen", False)
        job["seen"] = True
        return web.json_response(
            {
                "isJobCompleted": done,
                "verificationId": request.match_info["job"],
                **{key: value for key, value in job.items() if done and key != "seen"},
            }
        )

    async def blockscout_config(self, _: web.Request) -> web.Response:
        return web.json_response(self.offers)

    async def blockscout_known(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        if not self.bench.chain.request("eth_getCode", [address, "latest"]).removeprefix("0x"):
            return web.json_response({"message": "Not found"}, status=404)
        name = self.verified.get(address)
        return web.json_response({"is_verified": True, "name": name} if name else {"deployed_bytecode": "0x"})

    async def blockscout_verify(self, request: web.Request) -> web.Response:
        form = await request.post()
        upload = form["files[0]"]
        assert isinstance(upload, web.FileField)
        assert form["compiler_version"] == f"v{COMPILER}"
        content = json.loads(upload.file.read())
        (target,) = content["settings"]["outputSelection"]
        if self.matches(request.match_info["address"], compiled(content, f"{target}:{Path(target).stem}")):
            self.verified[request.match_info["address"]] = Path(target).stem
        return web.json_response({"message": "Smart-contract verification started"})


def serve(service: Service, work: Callable[[aiohttp.ClientSession, str], Awaitable[Result]]) -> Result:
    """What `work` returns with the service running at the given address."""

    @asynccontextmanager
    async def running() -> AsyncIterator[str]:
        runner = web.AppRunner(service.app())
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def both() -> Result:
        async with running() as url, aiohttp.ClientSession() as session:
            return await work(session, url)

    return asyncio.run(both())


def sourcify(service: Service, made: StandardJson, address: str, timeout: float = 20) -> SourcifyResult:
    async def work(session: aiohttp.ClientSession, url: str) -> SourcifyResult:
        return await Sourcify(session, url, poll_seconds=0.01).verify(
            31337, address, made.content, made.compiler, made.identifier, "0x" + "11" * 32, timeout
        )

    return serve(service, work)


def blockscout(service: Service, made: StandardJson, address: str, timeout: float = 20) -> BlockscoutResult:
    async def work(session: aiohttp.ClientSession, url: str) -> BlockscoutResult:
        return await Blockscout(session, url, poll_seconds=0.01).verify(address, made.content, made.compiler, timeout)

    return serve(service, work)


def beacon_of(bench: Bench) -> str:
    return bench.record().ledger.beacon.address


@pytest.mark.parametrize("name", ["LedgerManager", "InferenceServing", "FineTuningServing", BEACON])
def test_the_standard_json_input_is_what_the_build_compiled(name: str) -> None:
    made = standard_json(load(name))
    assert made.compiler == COMPILER
    assert made.identifier.endswith(f"/{name}.vy:{name}")
    content = json.loads(made.text)
    texts = {path: one["content"].encode() for path, one in content["sources"].items()}
    hashes = {f"contracts/{path}": sha256(text).hexdigest() for path, text in texts.items()}
    assert hashes.items() <= load(name).source_hashes.items()
    assert content | {"sources": list(texts)} == load(name).standard_json


def test_the_standard_json_input_gives_the_very_bytecode(beacon_input: StandardJson) -> None:
    check_recompiled(load(BEACON), beacon_input)


def test_an_input_of_other_sources_is_not_handed_out(tmp_path: Path) -> None:
    folder = tmp_path / "contracts"
    shutil.copytree(SOURCES, folder)
    source = next(folder.rglob(f"{BEACON}.vy"))
    source.write_text(source.read_text() + "\n")
    with pytest.raises(NotReproduced, match="was not compiled from the sources in"):
        standard_json(load(BEACON), folder)


def test_an_input_that_gives_other_bytecode_is_not_handed_out(beacon_input: StandardJson) -> None:
    content = json.loads(json.dumps(beacon_input.content).replace("Ownable: caller is not", "Ownable: caller isn't"))
    with pytest.raises(NotReproduced, match="compile to another bytecode than the artifact"):
        check_recompiled(load(BEACON), replace(beacon_input, content=content))


def test_an_input_that_does_not_compile_is_not_handed_out(beacon_input: StandardJson) -> None:
    content = json.loads(json.dumps(beacon_input.content).replace("def attach", "deaf attach"))
    with pytest.raises(NotReproduced, match="does not compile"):
        check_recompiled(load(BEACON), replace(beacon_input, content=content))


def test_without_sources_it_says_where_they_are(tmp_path: Path) -> None:
    with pytest.raises(NothingToCompile, match="is missing") as failure:
        standard_json(load(BEACON), tmp_path)
    assert failure.value.next_step is not None
    assert "checkout" in failure.value.next_step
    assert failure.value.exit_code == 3, "no node is to blame"


def test_the_hand_written_front_is_verified_by_its_bytes(network: Bench) -> None:
    with pytest.raises(InvalidInput, match="not written in Vyper"):
        standard_json(load("BeaconProxy"))
    ledger = network.record().ledger
    code = bytes.fromhex(network.chain.request("eth_getCode", [ledger.front.address, "latest"])[2:])
    assert code == front_code(ledger.beacon.address)
    assert code_problem("BeaconProxy", code, ledger.beacon.address) is None
    other = network.record().contracts["inference-v1.0"].beacon.address
    assert code_problem("BeaconProxy", code, other) == f"is not a front of the beacon {other}"
    assert code_problem("BeaconProxy", code[:-1] + b"\1", ledger.beacon.address) is not None


def test_sourcify_verifies_and_knows_it_afterwards(network: Bench, beacon_input: StandardJson) -> None:
    service = Service(network)
    assert sourcify(service, beacon_input, beacon_of(network)) == SourcifyResult("match", "match", already_known=False)
    assert sourcify(service, beacon_input, beacon_of(network)).already_known


def test_sourcify_tells_why_it_does_not_match(network: Bench, beacon_input: StandardJson) -> None:
    with pytest.raises(VerifierFailed, match="The bytecodes do not match") as failure:
        sourcify(Service(network), beacon_input, network.record().ledger.front.address)
    assert failure.value.cause == "Its error code is no_match."


def test_blockscout_verifies_and_knows_it_afterwards(network: Bench, beacon_input: StandardJson) -> None:
    service = Service(network)
    assert blockscout(service, beacon_input, beacon_of(network)) == BlockscoutResult(BEACON, already_known=False)
    assert blockscout(service, beacon_input, beacon_of(network)).already_known


def test_an_explorer_that_shows_nothing_is_not_waited_for_forever(network: Bench, beacon_input: StandardJson) -> None:
    with pytest.raises(VerifierFailed, match="does not show"):
        blockscout(Service(network), beacon_input, network.record().ledger.front.address, timeout=0.2)


@pytest.mark.parametrize(
    ("offers", "says"),
    [
        ({"verification_options": ["flattened-code"]}, "does not verify Vyper from standard JSON"),
        (
            {"verification_options": ["vyper-standard-input"], "vyper_compiler_versions": ["v0.3.10+commit.91361694"]},
            "does not have Vyper 0.4.3",
        ),
    ],
)
def test_an_explorer_that_cannot_verify_is_not_asked_to(
    network: Bench, beacon_input: StandardJson, offers: dict[str, Any], says: str
) -> None:
    service = Service(network, offers=offers)
    with pytest.raises(VerifierFailed, match=says):
        blockscout(service, beacon_input, beacon_of(network))
    assert not any(one.startswith("POST") for one in service.asked)


@pytest.mark.parametrize("ask", [sourcify, blockscout])
@pytest.mark.parametrize(
    ("mood", "says"),
    [
        (lambda: web.Response(status=502, text="<html>bad gateway</html>"), "sent no valid answer"),
        (lambda: web.json_response({"message": "too many requests"}, status=429), "too many requests"),
        (lambda: web.json_response([1, 2]), "refused|does not verify"),
    ],
)
def test_a_service_in_a_bad_mood_is_a_clear_failure(
    network: Bench, beacon_input: StandardJson, ask: Any, mood: Callable[[], web.Response], says: str
) -> None:
    with pytest.raises(VerifierFailed, match=says) as failure:
        ask(Service(network, moods=[mood(), mood()]), beacon_input, beacon_of(network))
    assert failure.value.next_step
