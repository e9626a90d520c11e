# SPDX-License-Identifier: Apache-2.0
"""Who is served: tokens, accounts, acknowledgements, and the shape of a refusal."""

from __future__ import annotations

import asyncio
import json
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from serving_network.errors import NodeUnreachable
from serving_network.gateway import admission
from serving_network.gateway.control import ask_gateway
from serving_network.messages.session_tokens import DAY_MS, SessionToken, read_token
from serving_network.money import WEI_PER_COIN as COIN
from tests.gateway.programs import printed_by, write_home
from tests.gateway.stage import CHAT, STRANGER, Stage, plain

NOW = int(time.time() * 1000)


def refused(answer: tuple[int, Any, str]) -> tuple[int, str]:
    """Status and code of a refusal, which has the form that OpenAI clients show."""
    status, body, _ = answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "code", "param"}
    return status, body["error"]["code"]


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": "0x" + "11" * 20},
        {"timestamp": NOW + DAY_MS, "expires_at": NOW + 2 * DAY_MS},
        {"timestamp": NOW - 2 * DAY_MS, "expires_at": NOW - DAY_MS},
        {"expires_at": 0},
        {"generation": 1},
        {"address": "0x" + "22" * 20},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_token_that_does_not_count(stage: Stage, changes: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            assert refused(await gate.chat(stage.token(**changes))) == (401, "invalid_token")
            assert gate.model.seen == []

    asyncio.run(scenario())


def test_a_request_without_a_token(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate, gate.http.post(gate.url("/v1/chat/completions"), json=CHAT) as answer:
            assert answer.status == 401
            assert "no Authorization header" in (await answer.json())["error"]["message"]

    asyncio.run(scenario())


def test_revoked_keys_are_refused_and_new_ones_accepted_at_once(stage: Stage) -> None:
    world = stage.world

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token(token_id=7)))[0] == 200
            await stage.act(lambda: world.user.revoke_all_tokens(world.provider.address))
            assert (await gate.chat(stage.token(generation=1)))[0] == 200
            assert refused(await gate.chat(stage.token(token_id=7))) == (401, "invalid_token")

    asyncio.run(scenario())


def test_a_header_is_read_once_and_checked_every_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    world = stage.world
    headers: list[str] = []

    def read(header: str) -> tuple[SessionToken, str]:
        headers.append(header)
        return read_token(header)

    monkeypatch.setattr(admission, "read_token", read)

    async def scenario() -> None:
        token = stage.token(token_id=7)
        async with stage.gate() as gate:
            assert [(await gate.chat(token))[0] for _ in range(2)] == [200, 200]
            await stage.act(lambda: world.user.revoke_all_tokens(world.provider.address))
            await gate.chat(stage.token(generation=1))
            assert refused(await gate.chat(token)) == (401, "invalid_token")
            assert headers.count(token) == 1

    asyncio.run(scenario())


def test_an_acknowledgement_counts_at_once(stage: Stage) -> None:
    world = stage.world

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert refused(await gate.chat(stage.token(STRANGER))) == (402, "no_account")
            await stage.act(lambda: world.stranger.open_ledger(10 * COIN))
            await stage.act(lambda: world.stranger.fund(world.provider.address, 5 * COIN))
            assert (await gate.chat(stage.token(STRANGER)))[0] == 200

    asyncio.run(scenario())


def test_a_new_signer_that_nobody_confirmed(stage: Stage, tmp_path: Path) -> None:
    world = stage.world
    world.owner.revoke(world.provider.address)
    write_home(stage, tmp_path, "http://127.0.0.1:1/v1")

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert gate.running.confirmed is False
            assert refused(await gate.chat(stage.token())) == (503, "signer_not_confirmed")
            assert (await ask_gateway(stage.store, "GET", "/status"))["signer_confirmed"] is False
            _, shown = await printed_by(tmp_path, "gateway", "status", "--journal", str(stage.store))
            command = f"serving signer confirm {world.provider.address}"
            assert f"TEE signer not confirmed: the owner runs {command}" in " ".join(shown.split())
            await stage.act(lambda: world.owner.confirm(world.provider.address))
            assert (await ask_gateway(stage.store, "GET", "/status"))["signer_confirmed"] is True
            assert (await gate.chat(stage.token()))[0] == 200

    asyncio.run(scenario())


def test_coins_that_are_asked_back_are_not_spent(stage: Stage) -> None:
    world = stage.world
    world.user.retrieve([world.provider.address])

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert refused(await gate.chat(stage.token())) == (402, "insufficient_funds")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("data", "headers", "expected"),
    [
        (b"{", {}, (400, "invalid_json")),
        (b"[" * 100_000, {}, (400, "invalid_json")),
        (json.dumps(CHAT | {"model": "other"}).encode(), {}, (404, "model_not_found")),
        (b"{}", {"Content-Encoding": "gzip"}, (415, "unsupported_content_encoding")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported_content_type")),
        (b" " * (33 * 2**20), {}, (413, "body_too_large")),
    ],
    ids=["bad JSON", "deep JSON", "model", "compressed", "text", "33 MiB"],
)
def test_bodies_that_are_refused(stage: Stage, data: bytes, headers: dict[str, str], expected: tuple[int, str]) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            sent = {"Authorization": stage.token(), "Content-Type": "application/json"} | headers
            async with gate.http.post(gate.url("/v1/chat/completions"), data=BytesIO(data), headers=sent) as answer:
                assert refused((answer.status, await answer.json(), "")) == expected
            assert gate.model.seen == []

    asyncio.run(scenario())


def test_a_body_without_a_length_is_refused_when_it_is_too_long(stage: Stage) -> None:
    async def scenario() -> None:
        async def parts() -> Any:
            for _ in range(33):
                yield b" " * 2**20

        async with stage.gate() as gate:
            sent = {"Authorization": stage.token(), "Content-Type": "application/json"}
            async with gate.http.post(gate.url("/v1/chat/completions"), data=parts(), headers=sent) as answer:
                assert answer.status == 413

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/images/generations", 404),
        ("POST", "/v1/settle", 404),
        ("DELETE", "/v1/models", 404),
        ("GET", "/v1/service", 404),
        ("GET", "/v1/receipts?after=-1", 400),
        ("GET", "/v1/receipts?limit=501", 400),
        ("GET", "/v1/receipts/0x12", 404),
        ("GET", "/v1/signature/0f8fad5b-d9cb-469f-a165-70867728950e", 404),
        ("GET", "/v1/signature/chatcmpl-1", 404),
    ],
)
def test_routes_that_are_not_there(stage: Stage, method: str, path: str, status: int) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            headers = {"Authorization": stage.token()}
            async with gate.http.request(method, gate.url(path), headers=headers) as answer:
                assert answer.status == status
                assert "message" in (await answer.json())["error"]

    asyncio.run(scenario())


def test_a_user_has_so_many_requests_at_once(stage: Stage) -> None:
    release = asyncio.Event()

    async def held(request: Any, body: dict[str, Any]) -> Any:
        await release.wait()
        return await plain(request, body)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(held, max_requests_of_user=2) as gate:
            waiting = [asyncio.create_task(gate.chat(token)) for _ in range(2)]
            while len(gate.model.seen) < 2:
                await asyncio.sleep(0.01)
            headers = {"Authorization": token}
            async with gate.http.post(gate.url("/v1/chat/completions"), json=CHAT, headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
            release.set()
            assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200, 200]
            assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())


def test_receipts_and_signatures_of_others(stage: Stage) -> None:
    world = stage.world
    world.stranger.open_ledger(10 * COIN)
    world.stranger.fund(world.provider.address, 5 * COIN)

    async def scenario() -> None:
        async with stage.gate() as gate:
            _, _, key = await gate.chat(stage.token(token_id=3))
            for token, sees in (
                (stage.token(), True),
                (stage.token(token_id=3), True),
                (stage.token(token_id=4), False),
            ):
                content = (await gate.get("/v1/receipts", token))[1]
                (shown,) = content["receipts"]
                assert ("salt" in shown) is sees
                assert {"id", "sequence", "inputFee", "outputFee"} <= set(shown)
                assert (await gate.get(f"/v1/receipts/{key}/answer", token))[0] == (200 if sees else 404)
            other = stage.token(STRANGER)
            assert (await gate.get("/v1/receipts", other)) == (200, {"receipts": []})
            assert (await gate.get(f"/v1/receipts/{key}", other))[0] == 404
            assert (await gate.get(f"/v1/user/{world.user.address}/unsettledfee", other))[0] == 403
            assert (await gate.get(f"/v1/user/{world.user.address.lower()}/unsettledfee", stage.token()))[0] == 200
            # The model server's own id needs the token of the request's user.
            assert (await gate.get("/v1/signature/chatcmpl-1"))[0] == 401
            assert (await gate.get("/v1/signature/chatcmpl-1", other))[0] == 404
            assert (await gate.get("/v1/signature/chatcmpl-1", stage.token()))[0] == 200

    asyncio.run(scenario())


def test_what_everybody_may_see(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            assert await gate.get("/healthz") == (200, {"status": "ok"})
            for path in ("/v1/models", "/v1/proxy/models"):
                (model,) = (await gate.get(path))[1]["data"]
                assert (model["id"], model["pricing"]) == ("model-1", {"prompt": "100", "completion": "200"})
            quote = (await gate.get("/v1/quote"))[1]
            assert quote["mock"] is True

    asyncio.run(scenario())


def test_pages_of_any_origin_may_ask(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            asked = {
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
            }
            async with gate.http.options(gate.url("/v1/proxy/chat/completions"), headers=asked) as answer:
                assert answer.status == 204
                assert answer.headers["Access-Control-Allow-Headers"] == asked["Access-Control-Request-Headers"]
                assert "POST" in answer.headers["Access-Control-Allow-Methods"]
            headers = {"Origin": "https://app.example", "Authorization": stage.token()}
            async with gate.http.post(gate.url("/v1/chat/completions"), json=CHAT, headers=headers) as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
                assert "ZG-Res-Key" in answer.headers["Access-Control-Expose-Headers"]

    asyncio.run(scenario())


def test_a_chain_that_does_not_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.gateway import chain

    async def down(*_: Any, **__: Any) -> Any:
        raise NodeUnreachable("down")

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token()))[0] == 200
            monkeypatch.setattr(AsyncNetwork, "accounts_with", down)
            monkeypatch.setattr(AsyncNetwork, "offer", down)
            monkeypatch.setattr(chain, "FRESH", -1.0)
            assert (await gate.chat(stage.token()))[0] == 200
            assert refused(await gate.chat(stage.token(STRANGER))) == (503, "chain_unavailable")
            monkeypatch.setattr(chain, "STALE", -1.0)
            assert refused(await gate.chat(stage.token())) == (503, "chain_unavailable")

    asyncio.run(scenario())
