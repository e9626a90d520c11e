# SPDX-License-Identifier: Apache-2.0
"""`serving verify` from the command line: a sound network passes, one changed byte does not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from tests.deployment.guide import GUIDE, Guide
from tests.deployment.test_verify import Service

# The ledger alone, which is deployed sooner.
SPEC = GUIDE.read_text().split("```toml\n", 1)[1].split("[[service]]", 1)[0]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    """The operators' guide with its network deployed."""
    guide = Guide(tmp_path_factory.mktemp("verify"))
    (guide.folder / "networks" / "mine.toml").write_text(SPEC)
    with guide.playing():
        guide.type("serving deploy apply --key deployer --yes")
        assert guide.exit_code == 0
        yield guide


@pytest.fixture
def guide(deployed: Guide) -> Iterator[Guide]:
    snapshot = deployed.chain.request("evm_snapshot", [])
    yield deployed
    deployed.chain.request("evm_revert", [snapshot])


def part(guide: Guide, contract: str, name: str) -> str:
    """The address of one part of a contract."""
    record = json.loads((guide.folder / "networks" / "mine.json").read_text())
    return str(record["contracts"][contract][name]["address"])


def change_a_byte(guide: Guide, address: str, at: int) -> None:
    code = bytearray.fromhex(guide.chain.request("eth_getCode", [address, "latest"])[2:])
    code[at] ^= 1
    guide.chain.request("anvil_setCode", [address, "0x" + code.hex()])


@contextmanager
def served(guide: Guide) -> Iterator[tuple[Service, str]]:
    """A verification service over the guide's chain, in a thread of its own, and its address."""
    service = Service(guide.bench)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(service.app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield service, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_sound_network_is_the_same_byte_for_byte(guide: Guide) -> None:
    told = guide.type("serving verify local")
    assert guide.exit_code == 0, told
    assert told.count("identical") == len(told.splitlines()) == 3 + 2
    found = json.loads(guide.type("serving verify local --json"))
    assert {one["problem"] for one in found} == {None}


@pytest.mark.parametrize(
    ("contract", "name", "at", "says"),
    [
        ("ledger", "implementation", 1000, "has other code than LedgerManager"),
        ("ledger", "implementation", 0, "has other code than LedgerManager"),
        ("ledger", "beacon", 40, "has other code than UpgradeableBeacon"),
        ("ledger", "front", 10, "is not a front of the beacon"),
        ("ledger", "front", 100, "is not a front of the beacon"),
    ],
)
def test_one_changed_byte_is_found(guide: Guide, contract: str, name: str, at: int, says: str) -> None:
    address = part(guide, contract, name)
    change_a_byte(guide, address, at)
    told = guide.type("serving verify local")
    assert guide.exit_code == 9
    bad, *wrapped = [line for line in told.splitlines() if "identical" not in line]
    assert all(line.startswith(" ") for line in wrapped), "only one part is bad"
    assert says in " ".join([bad, *map(str.strip, wrapped)])
    assert address in bad


def test_a_source_that_does_not_exist_is_answered_with_those_that_do(guide: Guide) -> None:
    told = guide.type("serving verify input Ledger")
    assert guide.exit_code == 2, told
    assert "FineTuningServing, InferenceServing, LedgerManager" in " ".join(told.split())
    assert told.splitlines()[-1] == "Next   serving verify input LedgerManager"


def test_code_that_is_gone_is_found(guide: Guide) -> None:
    guide.chain.request("anvil_setCode", [part(guide, "ledger", "implementation"), "0x"])
    assert "has no code" in guide.type("serving verify local")
    assert guide.exit_code == 9


@pytest.mark.parametrize("verb", ["sourcify", "blockscout"])
def test_a_service_verifies_what_is_deployed_and_knows_it_afterwards(guide: Guide, verb: str) -> None:
    with served(guide) as (service, url):
        told = guide.type(f"serving verify {verb} ledger --url {url}")
        assert guide.exit_code == 0, told
        assert set(service.verified) == {part(guide, "ledger", "implementation"), part(guide, "ledger", "beacon")}
        again = json.loads(guide.type(f"serving verify {verb} ledger --url {url} --json"))
        assert [one["already_known"] for one in again] == [True, True]


def test_a_service_does_not_verify_what_was_changed(guide: Guide) -> None:
    change_a_byte(guide, part(guide, "ledger", "beacon"), 50)
    with served(guide) as (service, url):
        told = guide.type(f"serving verify sourcify ledger --url {url}")
    assert guide.exit_code != 0
    assert set(service.verified) == {part(guide, "ledger", "implementation")}
    assert "The bytecodes do not match" in told
    assert "serving verify local" in told


@pytest.mark.parametrize("verb", ["sourcify", "blockscout"])
@pytest.mark.parametrize(
    "mood",
    [
        web.Response(text="{", content_type="application/json"),
        web.Response(text="[" * 100_000, content_type="application/json"),
        web.Response(body=b"\xff\xfe", content_type="application/json"),
        web.json_response({"message": "\x1b[31mno", "error": "words", "isJobCompleted": True}, status=500),
        web.json_response(["a", "list"], status=418),
        web.Response(status=429),
    ],
    ids=["half", "deep", "bytes", "odd", "a list", "busy"],
)
def test_a_service_that_answers_nonsense_is_a_clear_failure(guide: Guide, verb: str, mood: web.Response) -> None:
    with served(guide) as (service, url):
        service.moods = [web.Response(status=mood.status, body=mood.body, content_type=mood.content_type)] * 2
        told = guide.type(f"serving verify {verb} ledger --url {url}")
    assert guide.exit_code not in (0, 1)
    assert "Error" in told
    assert "Next" in told
    assert not service.verified


def test_a_verdict_of_another_shape_is_a_clear_failure(guide: Guide) -> None:
    for verdict in ({"error": "words"}, {"contract": "match"}, {"contract": {"match": ["match"]}}, {}):
        with served(guide) as (service, url):
            service.moods = [
                web.json_response({"verificationId": "x"}, status=202),
                web.json_response({"isJobCompleted": True, **verdict}),
            ]
            told = guide.type(f"serving verify sourcify ledger --url {url}")
        assert guide.exit_code not in (0, 1), told
        assert "Next" in told
