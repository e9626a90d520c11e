# SPDX-License-Identifier: Apache-2.0
"""The key and the quote of dstack: what is asked of its socket, and that a strange answer never shows the key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from serving_network.clients.attestation import Genuineness, judge
from serving_network.errors import ConfigurationError
from serving_network.messages.quotes import parse_report
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.wallet.dstack import SOCKETS, TeeUnavailable, find_dstack
from tests.dstack_agent import dstack_agent
from tests.tee_reports import quote

SECRET = "5e" * 32


def test_the_key_depends_on_the_path_and_the_quote_binds_its_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with dstack_agent(tmp_path / "dstack.sock") as agent:
            dstack = find_dstack(agent.socket)
            signer: AttestedSigner = await dstack.signer()
            assert signer.address == agent.address()
            assert (await dstack.signer("/")).address == agent.address("/") != signer.address
            content = await dstack.report(signer.address)
            report = parse_report(content)
            assert judge(report, Genuineness("UpToDate", (), "{}"), signer.address).genuine
            assert "mock" not in json.loads(content)
            assert [method for method, _ in agent.asked] == ["GetKey", "GetKey", "GetQuote", "Info"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"key": SECRET[:-2]}},
        {"json": {"key": SECRET + "00"}},
        {"json": {"key": [SECRET]}},
        {"json": {"key": "0" * 64}},
        {"json": [SECRET]},
        {"text": SECRET},
        {"text": "{" + SECRET},
        {"json": {"key": SECRET}, "status": 500},
    ],
)
def test_a_strange_key_is_refused_and_never_shown(tmp_path: Path, answer: dict[str, object]) -> None:
    async def scenario() -> None:
        async with dstack_agent(tmp_path / "dstack.sock") as agent:
            status = int(str(answer.get("status", 200)))
            text = json.dumps(answer["json"]) if "json" in answer else str(answer["text"])
            agent.answers["GetKey"] = (text, status)
            with pytest.raises(TeeUnavailable) as failure:
                await find_dstack(agent.socket).signer()
            shown = [str(failure.value), failure.value.cause, failure.value.next_step, str(failure.value.__cause__)]
            assert not any("5e5e" in str(one) or "0000" in str(one) for one in shown)

    asyncio.run(scenario())


def test_a_quote_over_other_data_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with dstack_agent(tmp_path / "dstack.sock") as agent:
            dstack = find_dstack(agent.socket)
            for made, cause in ((quote().hex(), "another one"), ("00", "not a TDX quote")):
                agent.answers["GetQuote"] = (json.dumps({"quote": made, "event_log": "[]"}), 200)
                with pytest.raises(TeeUnavailable, match="does not contain the signer") as failure:
                    await dstack.report(agent.address())
                assert cause in str(failure.value.cause)
            agent.answers["GetQuote"] = (json.dumps({"error": "no TDX\x1b here"}), 400)
            with pytest.raises(TeeUnavailable, match="status 400") as failure:
                await dstack.report(agent.address())
            assert failure.value.cause == "no TDX\\x1b here"

    asyncio.run(scenario())


def test_where_dstack_is_looked_for(tmp_path: Path) -> None:
    assert find_dstack("/a.sock", {"DSTACK_SIMULATOR_ENDPOINT": "/b.sock"}).endpoint == "/a.sock"
    assert find_dstack(None, {"DSTACK_SIMULATOR_ENDPOINT": "/b.sock"}).endpoint == "/b.sock"
    assert find_dstack(None, {"DSTACK_SIMULATOR_ENDPOINT": "http://localhost:8090"}).endpoint == "http://localhost:8090"
    assert find_dstack(None, {}).endpoint in SOCKETS
    for url in ("http://10.0.0.7:8090", "http://localhost.example", "https://127.0.0.1", "dstack.sock", "http://[::"):
        with pytest.raises(ConfigurationError, match="not an address of dstack"):
            find_dstack(url, {})
    with pytest.raises(TeeUnavailable, match="does not answer"):
        asyncio.run(find_dstack(str(tmp_path / "none.sock")).signer())
