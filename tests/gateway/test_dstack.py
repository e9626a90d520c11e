# SPDX-License-Identifier: Apache-2.0
"""A provider whose signer is in dstack: registered, served and settled by the program, with a quote that binds it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from serving_network.clients.attestation import Genuineness, judge
from serving_network.errors import NodeFailure
from serving_network.gateway.attestation import REPORT_SECONDS, Attestation
from serving_network.messages.quotes import parse_report
from serving_network.messages.receipts import parse_receipt
from serving_network.testing import LocalNetwork
from serving_network.wallet.dstack import find_dstack
from serving_network.wallet.keys import KeyStore
from tests.dstack_agent import dstack_agent
from tests.gateway.programs import PASSWORD, program, serving, write_home
from tests.gateway.stage import CHAT, Stage, model_server
from tests.tee_reports import report


def test_a_service_whose_signer_is_in_dstack(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, home = stage.world, tmp_path / "home"
    home.mkdir()
    KeyStore(home / "keys", scrypt_work=2).add("provider", LocalNetwork.signer(1), PASSWORD)

    async def scenario() -> None:
        async with dstack_agent(tmp_path / "dstack.sock") as agent, model_server() as model:
            monkeypatch.setenv("DSTACK_SIMULATOR_ENDPOINT", agent.socket)
            write_home(stage, home, model.url)
            settings = home / "tee.toml"
            words = ["--key", "provider", "--upstream", model.url, "--signer", "dstack", "--port", "0"]
            assert (await serving(home, "gateway", "init", *words, "--settings", str(settings), "--yes"))[0] == 0
            await stage.act(lambda: world.owner.confirm(world.provider.address))
            await stage.act(lambda: world.user.acknowledge(world.provider.address))
            async with (
                program(stage, home, "--settings", str(settings), SERVING_TEE_KEY="") as (_, started),
                aiohttp.ClientSession(started["url"], headers={"Authorization": stage.token()}) as http,
            ):
                async with http.get("/v1/quote") as answer:
                    found = parse_report(await answer.read())
                assert judge(found, Genuineness("UpToDate", (), "{}"), agent.address()).genuine
                async with http.get("/v1/models") as answer:
                    assert (await answer.json())["data"][0]["tee_attested"] is True
                async with http.post("/v1/chat/completions", json=CHAT) as answer:
                    assert answer.status == 200
                async with http.get("/v1/receipts") as answer:
                    (receipt,) = (await answer.json())["receipts"]
                parse_receipt(receipt).check(agent.address())
            words = ["settle", "--key", "provider", "--journal", str(stage.store)]
            code, settled = await serving(home, *words, "--tee-key", "dstack:serving-network/tee-signer")
            assert (code, settled["total"]["unsettled"]) == (0, "0")
            assert int(settled["total"]["paid"]) > 0

    asyncio.run(scenario())


def test_a_report_is_asked_for_again_when_it_is_old(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with dstack_agent(tmp_path / "dstack.sock") as agent:
            now, dstack = [0.0], find_dstack(agent.socket)
            attestation = Attestation(agent.address(), lambda: dstack.report(agent.address()), lambda: now[0])
            assert await attestation.check() == []
            first = await attestation.report()
            now[0] = REPORT_SECONDS
            await asyncio.gather(*(attestation.report() for _ in range(5)))
            assert [method for method, _ in agent.asked] == ["GetQuote", "Info"] * 2
            agent.answers["Info"] = (json.dumps({"tcb_info": "{}"}), 200)
            now[0] *= 2
            assert await attestation.report() != first
            assert await attestation.check() == ["The TEE's report has no compose file that its event log contains."]

    asyncio.run(scenario())


def test_the_last_report_is_served_if_the_tee_fails() -> None:
    async def scenario() -> None:
        now, answers = [0.0], [json.dumps(report()).encode()]

        async def ask() -> bytes:
            if not answers:
                raise NodeFailure("The TEE does not answer.")
            return answers.pop()

        attestation = Attestation("0x00", ask, lambda: now[0])
        assert "does not contain the signer" in (await attestation.check())[0]
        now[0] = REPORT_SECONDS + 1
        assert parse_report(await attestation.report()).shows_compose()

    asyncio.run(scenario())
