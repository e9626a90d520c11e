# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import stat
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serving_network.errors import ConfigurationError
from serving_network.gateway import chain
from serving_network.gateway.control import GatewayNotRunning, ask_gateway, control_path
from serving_network.gateway.metrics import Metrics
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.store.served import summarise
from serving_network.testing import LocalNetwork
from serving_network.wallet.keys import KeyStore
from tests.gateway.programs import PASSWORD, printed_by, write_home
from tests.gateway.stage import CHAT, PROVIDER, Stage, plain


def test_drain_refuses_new_requests_and_finishes_those_under_way(stage: Stage) -> None:
    release = asyncio.Event()

    async def held(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await release.wait()
        return await plain(request, body)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(held) as gate:
            waiting = asyncio.create_task(gate.chat(token))
            async with asyncio.timeout(10):
                while not gate.model.seen:
                    await asyncio.sleep(0.01)
            state = await ask_gateway(stage.store, "POST", "/drain")
            assert (state["draining"], state["under_way"]) == (True, 1)
            assert int(state["reserved"]) > 0
            headers = {"Authorization": token}
            async with gate.http.post(gate.url("/v1/chat/completions"), json={}, headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
                assert (await answer.json())["error"]["code"] == "draining"
            assert (await gate.get("/v1/receipts", token))[0] == 200
            release.set()
            assert (await waiting)[0] == 200
            state = await ask_gateway(stage.store, "GET", "/status")
            assert (state["under_way"], state["reserved"], state["refused"]) == (0, "0", {"draining": 1})
            await ask_gateway(stage.store, "POST", "/resume")
            assert (await gate.chat(token))[0] == 200
        with pytest.raises(GatewayNotRunning) as stopped:
            await ask_gateway(stage.store, "GET", "/status")
        assert stopped.value.cause is None

    asyncio.run(scenario())


def test_a_drain_without_a_settler_names_the_command_that_settles(stage: Stage, tmp_path: Path) -> None:
    KeyStore(tmp_path / "keys", scrypt_work=2).add("provider", LocalNetwork.signer(PROVIDER), PASSWORD)
    write_home(stage, tmp_path, "http://127.0.0.1:1/v1")
    words = ["--key", "provider", "--journal", str(stage.store)]

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token()))[0] == 200
            code, text = await printed_by(tmp_path, "gateway", "drain", *words)
        assert (code, text.strip().endswith(f"Next: serving settle {' '.join(words)}")) == (11, True)

    asyncio.run(scenario())


def test_a_request_whose_body_arrives_during_a_drain_is_refused(stage: Stage) -> None:
    """Otherwise nothing would be under way for a moment, and the drain would end before this request."""
    sent, drained = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        content = json.dumps(CHAT).encode()
        yield content[:10]
        sent.set()
        await drained.wait()
        yield content[10:]

    async def scenario() -> None:
        headers = {"Authorization": stage.token(), "Content-Type": "application/json"}
        async with stage.gate() as gate:
            waiting = asyncio.create_task(
                gate.http.post(gate.url("/v1/chat/completions"), data=body(), headers=headers)
            )
            await sent.wait()
            await ask_gateway(stage.store, "POST", "/drain")
            drained.set()
            async with await waiting as answer:
                assert (await answer.json())["error"]["code"] == "draining"
            assert gate.model.seen == []

    asyncio.run(scenario())


def test_only_the_owner_may_use_the_socket(stage: Stage) -> None:
    async def scenario() -> None:
        path = control_path(stage.store)
        path.touch()  # as after a crash
        async with stage.gate():
            assert stat.S_ISSOCK(path.stat().st_mode)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()

    asyncio.run(scenario())


def test_a_path_that_is_longer_than_a_socket_address(stage: Stage, tmp_path: Path) -> None:
    stage = replace(stage, store=tmp_path / ("x" * 120) / "journal")

    async def scenario() -> None:
        with pytest.raises(GatewayNotRunning):
            await ask_gateway(stage.store, "GET", "/status")
        async with stage.gate() as gate:
            assert (await ask_gateway(stage.store, "GET", "/status"))["url"] == gate.running.url
            assert stat.S_IMODE(control_path(stage.store).stat().st_mode) == 0o600

    asyncio.run(scenario())


def test_metrics(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(metrics_port=0) as gate:
            url = (await ask_gateway(stage.store, "GET", "/status"))["metrics"]
            await gate.chat(token)
            await gate.chat("Bearer app-sk-x")
            await gate.get("/v1/" + "x" * 50)
            async with gate.http.get(url) as answer:
                assert answer.content_type == "text/plain"
                lines = (await answer.text()).splitlines()
            fee = summarise(stage.store).billed
            for line in (
                'serving_gateway_answers_total{route="chat/completions",status="200"} 1',
                'serving_gateway_answers_total{route="chat/completions",status="401"} 1',
                'serving_gateway_answers_total{route="other",status="404"} 1',
                'serving_gateway_refusals_total{reason="invalid_token"} 1',
                'serving_gateway_duration_seconds_bucket{route="chat/completions",le="+Inf"} 2',
                "serving_gateway_up 1",
                "serving_gateway_under_way 0",
                f"serving_gateway_unsettled_wei {fee}",
            ):
                assert line in lines
            async with gate.http.get(gate.url("/metrics")) as answer:
                assert answer.status == 404

    asyncio.run(scenario())


def test_buckets_count_up() -> None:
    metrics = Metrics()
    for seconds in (0.05, 0.06, 5000.0):
        metrics.answered("chat", 200, seconds, paid=True)
    text = metrics.text([])
    for bound, number in (("0.05", 1), ("0.1", 2), ("900.0", 2), ("+Inf", 3)):
        assert f'duration_seconds_bucket{{route="chat",le="{bound}"}} {number}\n' in text


def test_a_refund_counts_as_soon_as_it_is_requested(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "FRESH", 3600.0)
    monkeypatch.setattr(chain, "EVENT_SECONDS", 0.05)
    world = stage.world

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token()))[0] == 200
            assert summarise(stage.store).at_risk == []
            await stage.act(lambda: world.user.retrieve())
            async with asyncio.timeout(10):
                while not summarise(stage.store).at_risk:
                    await asyncio.sleep(0.05)
            found = summarise(stage.store)
            assert found.at_risk == [(world.user.address, found.unsettled)]

    asyncio.run(scenario())


def test_a_changed_price_counts_as_soon_as_it_is_registered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "FRESH", 3600.0)
    monkeypatch.setattr(chain, "EVENT_SECONDS", 0.05)
    world = stage.world

    async def scenario() -> None:
        async with stage.gate() as gate:
            token = stage.token()
            assert (await gate.chat(token))[0] == 200
            await stage.act(lambda: world.provider.update(world.offer(output_price=COIN // 1000)))
            async with asyncio.timeout(10):
                while (await gate.receipts(token))[-1].receipt.output_price != COIN // 1000:
                    assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_tls_with_a_certificate_that_is_renewed(stage: Stage, tmp_path: Path) -> None:
    def renew() -> ssl.SSLContext:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")],
            check=True, capture_output=True,
        )  # fmt: skip
        return ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    async def models(gate: Any, trusted: ssl.SSLContext) -> int:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as http,
            http.get(gate.url("/v1/models")) as answer,
        ):
            return int(answer.status)

    async def scenario() -> None:
        first = renew()
        files: dict[str, Any] = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
        async with stage.gate(host="127.0.0.1", **files) as gate:
            assert gate.running.url.startswith("https://")
            assert await models(gate, first) == 200
            second = renew()
            assert gate.running.certificate is not None
            gate.running.certificate.reload()
            assert await models(gate, second) == 200
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await models(gate, first)
            (tmp_path / "cert.pem").write_text("broken")
            gate.running.certificate.reload()
            assert await models(gate, second) == 200

    asyncio.run(scenario())


def test_half_a_certificate(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        missing = str(tmp_path / "no")
        cases: list[tuple[dict[str, Any], str]] = [
            ({"tls_cert": missing}, "needs its key"),
            ({"tls_cert": missing, "tls_key": missing}, "cannot be used"),
        ]
        for files, message in cases:
            with pytest.raises(ConfigurationError, match=message):
                async with stage.gate(**files):
                    pass

    asyncio.run(scenario())
