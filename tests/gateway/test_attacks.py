# SPDX-License-Identifier: Apache-2.0
"""A gateway under attack: tokens, other users' data, requests that two parsers read differently, and exhaustion.

Stage.gate checks after each test that nothing is reserved, held in memory or begun.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import resource
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from eth_utils import keccak

from serving_network.gateway import admission, bodies, running
from serving_network.gateway.chain import ChainView
from serving_network.messages.session_tokens import DAY_MS, PREFIX, SESSION_ID, SessionToken, sign_token
from serving_network.testing import LocalNetwork
from serving_network.wallet.local import LocalSigner
from tests.gateway.programs import program, write_home
from tests.gateway.stage import (
    CHAT,
    PROVIDER,
    STRANGER,
    USER,
    Stage,
    completion,
    events,
    model_server,
    plain,
    streaming,
)
from tests.gateway.test_hostile_clients import Client, request


def signed(message: str, user: int = USER) -> str:
    """An Authorization header for any text."""
    signature = LocalNetwork.signer(user).sign_message(keccak(text=message)).hex()
    return encoded(f"{message}|0x{signature}")


def encoded(text: str) -> str:
    return f"Bearer {PREFIX}{base64.b64encode(text.encode()).decode()}"


def forgeries(stage: Stage) -> dict[str, str]:
    """Tokens that must not be accepted, by what is wrong."""
    user, provider = LocalNetwork.signer(USER).address, stage.world.provider.address
    now = int(time.time() * 1000)
    good = SessionToken(user, provider, now, now + DAY_MS, "n", 0, SESSION_ID)
    message = good.message()
    honest = stage.token()
    return {
        "of another user": signed(message, STRANGER),
        "signed by the provider": signed(message, PROVIDER),
        "for another provider": stage.token(provider=LocalNetwork.signer(STRANGER).address),
        "expired": stage.token(timestamp=now - DAY_MS, expires_at=now - 2000),
        "too long": stage.token(timestamp=now, expires_at=now + DAY_MS + 1),
        "a session for ever": stage.token(expires_at=0),
        "made in the future": stage.token(timestamp=now + 400_000, expires_at=now + 400_000 + DAY_MS),
        "of the next generation": stage.token(generation=1),
        "id 256": signed(replace(good, token_id=256).message()),
        "id -1": signed(replace(good, token_id=-1).message()),
        "id true": signed(message.replace('"tokenId":255', '"tokenId":true')),
        "id 255.0": signed(message.replace('"tokenId":255', '"tokenId":255.0')),
        "id as text": signed(message.replace('"tokenId":255', '"tokenId":"255"')),
        "no generation": signed(message.replace('"generation":0,', "")),
        "address twice": signed(message.replace("{", '{"address":"' + LocalNetwork.signer(STRANGER).address + '",', 1)),
        "address as ENS": signed(message.replace(user, "user.eth")),
        "address with a letter O": signed(message.replace(user, user.replace("0x", "Ox"))),
        "address with other digits": signed(message.replace(user[2:6], "\uff13C44")),
        "times as floats": signed(message.replace(str(now), f"{now}.0")),
        "times in NaN": signed(message.replace(str(now + DAY_MS), "NaN")),
        "huge times": signed(message.replace(str(now + DAY_MS), "9" * 400)),
        "changed after signing": changed(honest, '"tokenId":255', '"tokenId":3'),
        "provider changed after signing": changed(stage.token(provider=user), user, provider),
        "two bars": honest.replace(PREFIX, PREFIX + base64.b64encode(b"{}|0x00||").decode()),
        "no signature": encoded(message),
        "a signature of zeros": encoded(f"{message}|0x{bytes(65).hex()}"),
        "not base64": f"Bearer {PREFIX}{message}",
        "another scheme": honest.replace("Bearer", "Basic"),
        "surrounded": f"Bearer x {honest.removeprefix('Bearer ')}",
    }


def changed(header: str, old: str, new: str) -> str:
    text = base64.b64decode(header.partition(PREFIX)[2]).decode()
    message, bar, signature = text.rpartition("|")
    return encoded(message.replace(old, new) + bar + signature)


def test_no_forged_token_is_accepted(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            for what, token in forgeries(stage).items():
                assert (await gate.chat(token))[0] == 401, what
                assert (await gate.get("/v1/receipts", token))[0] == 401, what
            assert gate.model.seen == []
            assert (await gate.chat(stage.token()))[0] == 200

    asyncio.run(scenario())


def test_a_user_is_one_user_in_every_spelling(stage: Stage) -> None:
    """Otherwise limits, reservations and receipts would count for each spelling."""
    user = LocalNetwork.signer(USER).address

    async def scenario() -> None:
        async with stage.gate(max_requests_of_user=1) as gate:
            now = int(time.time() * 1000)
            token = SessionToken(user, stage.world.provider.address, now, now + DAY_MS, "n", 0, SESSION_ID).message()
            spellings = [signed(token.replace(user, one)) for one in (user, user.lower(), "0x" + user[2:].upper())]
            assert [(await gate.chat(one))[0] for one in spellings] == [200] * 3
            assert len(await gate.receipts(spellings[1])) == 3

    asyncio.run(scenario())


def test_a_key_that_is_revoked_while_its_body_arrives_buys_nothing(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            token = stage.token(token_id=3)
            client = await Client.of(gate)
            whole = request(token)
            await client.send(whole[:-10])
            await asyncio.sleep(0.1)
            world = stage.world
            await stage.act(lambda: world.user.revoke_tokens(world.provider.address, [3]))
            assert gate.seller is not None
            gate.seller._admission._chain._accounts.clear()
            await client.send(whole[-10:])
            assert await client.status() == 401
            client.leave()
            assert gate.model.seen == []

    asyncio.run(scenario())


def test_a_body_on_its_way_while_the_store_turns_out_to_lack_receipts(stage: Stage) -> None:
    """The next request would get the sequence of a receipt that the user has."""

    async def scenario() -> None:
        async with stage.gate() as gate:
            client = await Client.of(gate)
            whole = request(stage.token())
            await client.send(whole[:-10])
            await asyncio.sleep(0.1)
            assert (await gate.get("/v1/receipts?after=99", stage.token()))[0] == 503
            await client.send(whole[-10:])
            assert await client.status() == 503
            client.leave()
            assert gate.model.seen == []

    asyncio.run(scenario())


def test_keys_see_nothing_of_other_keys_or_users(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            token = stage.token(token_id=1)
            _, _, key = await gate.chat(token)
            (one,) = await gate.receipts(token)
            id_ = "0x" + one.receipt.id.hex()
            paths = [f"/v1/receipts/{name}/answer" for name in (id_, key)] + ["/v1/signature/chatcmpl-1"]
            for path in paths:
                assert (await gate.get(path, token))[0] == 200
                assert (await gate.get(path, stage.token()))[0] == 200
                assert (await gate.get(path, stage.token(token_id=2)))[0] == 404
                assert (await gate.get(path))[0] == 401
            for name in (id_, key):
                shown = (await gate.get(f"/v1/receipts/{name}", stage.token(token_id=2)))[1]
                assert shown.keys() == {"id", "sequence", "inputFee", "outputFee"}
            for odd in ("0X" + id_[2:], key.upper(), id_ + "0", "..", "%2e%2e", "*", "' OR 1=1 --", "\u0660" * 36):
                for path in (f"/v1/receipts/{odd}", f"/v1/receipts/{odd}/answer", f"/v1/signature/{odd}"):
                    assert (await gate.get(path, token))[0] == 404

    asyncio.run(scenario())


def test_a_named_key_cannot_stop_its_user(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Who claims to have later receipts stops the sale to this user. That is for sessions, which the user signs."""

    async def scenario() -> None:
        async with stage.gate() as gate:
            for _ in range(3):
                assert (await gate.get("/v1/receipts?after=99", stage.token(token_id=1)))[0] == 503
            assert (await gate.chat(stage.token()))[0] == 200
            for _ in range(3):
                assert (await gate.get("/v1/receipts?after=99", stage.token()))[0] == 503
            assert (await gate.chat(stage.token()))[0] == 503
            assert len([one for one in caplog.records if "lacks receipts" in one.getMessage()]) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1,"max_tokens":1000000}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1,"max\\u005ftokens":1000000}',
        b'{"messages":[{"role":"user","content":"Hi"}],"n":1,"n":128}',
        b'{"messages":[{"role":"user","content":"Hi"}],"stream":false,"stream":true}',
        b'{"messages":[{"role":"user","content":"Hi"}],"model":"model-1","model":"other"}',
        b'{"messages":[{"role":"user","content":"Hi","content":[{"type":"image_url"}]}]}',
        b'{"messages":[{"role":"user","content":"Hi"}],"Max_Tokens":1000000}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens ":1000000}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens\\u0000":1000000}',
        '{"messages":[{"role":"user","content":"Hi"}],"\uff4dax_tokens":1000000}'.encode(),
        '{"messages":[{"role":"user","content":"Hi"}],"max_to\u212aens":1000000}'.encode(),
        '{"messages":[{"role":"user","content":"Hi"}],"\u017ftream":true}'.encode(),
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1e400}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":-0}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":-1}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":true}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1.0}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":"1"}',
        b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":[1]}',
        b'{"messages":[{"role":"user","content":"Hi"}],"n":0}',
        b'{"messages":[{"role":"user","content":"Hi"}],"n":129}',
        b'{"messages":[{"role":"user","content":"Hi"}],"temperature":1e400}',
        b'{"messages":[{"role":"user","content":"Hi"}],"temperature":NaN}',
        b'{"messages":[{"role":"user","content":"Hi"}],"seed":' + b"9" * 401 + b"}",
        b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"messages":[{"role":"user","Content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254"}}]}]}',
        '{"messages":[{"role":"user","content":"","\u212a":1}]}'.encode(),
        b'{"messages":[{"role":"user","content":"Hi"}]} {"max_tokens":9}',
        b'{"messages":[{"role":"user","content":"Hi"}]}\x00',
        '{"messages":[{"role":"user","content":"Hi"}]}'.encode("utf-16"),
        b"[" * 101 + b"]" * 101,
    ],
)
def test_a_body_that_two_parsers_may_read_differently(stage: Stage, body: bytes) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            headers = {"Authorization": stage.token(), "Content-Type": "application/json"}
            async with gate.http.post(gate.url("/v1/chat/completions"), data=body, headers=headers) as answer:
                assert answer.status in (400, 404)
            assert gate.model.seen == []

    asyncio.run(scenario())


SMUGGLED = b"GET /v1/user/0x0/unsettledfee HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "framing"),
    [
        (["X-A: b\r\n c"], b""),
        (["Content-Length: +%d"], b""),
        (["Content-Length: %d, %d"], b""),
        (["Content-Length: 0x5"], b""),
        (["Content-Length: -1"], b""),
        (["Content-Length: %d", "Transfer-Encoding: identity"], b""),
        (["Content-Length: %d", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (["Content-Length: %d", "Transfer-Encoding : chunked"], b""),
        (["Content-Length: %d", "Content-Length: 0"], b""),
        (["Transfer-Encoding: xchunked"], b""),
        (["Transfer-Encoding: chunked, identity"], b""),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b""),
        (["Transfer-Encoding: chunked"], b"+5\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"0x5\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"5\nhello\n0\n\n"),
        (["Transfer-Encoding: chunked"], b"5;a=b\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ],
)
def test_no_request_hides_in_another(
    stage: Stage, headers: list[str], framing: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What the gateway and a proxy before it could divide differently is refused, and the connection closed.

    Nothing of it is logged: it would quote the token, and fill the disk.
    """
    body = json.dumps(CHAT).encode()

    async def scenario() -> None:
        async with stage.gate() as gate:
            token = stage.token()
            lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: {token}"]
            lines += [one.replace("%d", str(len(body))) for one in headers]
            client = await Client.of(gate)
            client.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (framing or body) + SMUGGLED)
            got = await asyncio.wait_for(client.reader.read(), 10)
            client.leave()
            assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
            assert got.count(b"\r\nServer: ") == 1
            assert gate.model.seen == []

    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []
    assert PREFIX not in caplog.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "kind", [b"application/json; a=\xff", b"application/json;\r\n b=c", b"application/json; \xc2\x85", b"\xff", b""]
)
def test_a_model_servers_content_type_that_is_not_text(stage: Stage, kind: bytes, stream: bool) -> None:
    answer = json.dumps(completion()).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
            await reader.readexactly(sum(int(value) for name, _, value in lines if name == b"content-length"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nConnection: close\r\n\r\n" + answer)
            await writer.drain()
        writer.close()

    async def scenario() -> None:
        token = stage.token()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, stage.gate(upstream=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as gate:
            status, body, _ = await gate.post("/v1/chat/completions", token, CHAT | {"stream": stream})
            assert (status, body) == (200, answer)
            assert len(await gate.receipts(token)) == 1

    asyncio.run(scenario())


def test_connections_without_a_request_are_closed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "IDLE_SECONDS", 0.5)

    async def trickle(client: Client) -> None:
        with suppress(ConnectionError):
            for byte in b"GET /v1/models HTTP/1.1\r\nX: " + b"x" * 10_000:
                client.writer.write(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0.01)

    async def scenario() -> None:
        async with stage.gate() as gate:
            clients = [await Client.of(gate) for _ in range(50)]
            writing = [asyncio.create_task(trickle(client)) for client in clients[:25]]
            async with asyncio.timeout(10):
                for client in clients:
                    with suppress(ConnectionError):
                        assert await client.reader.read() == b""
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
            for client in clients:
                client.leave()
            assert (await gate.chat(stage.token()))[0] == 200

    asyncio.run(scenario())


def test_a_body_has_a_deadline_and_counts_while_it_arrives(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 1.0)

    async def trickle(client: Client, whole: bytes) -> None:
        await client.send(whole[:-50])
        with suppress(ConnectionError):
            for byte in whole[-50:]:
                await client.send(bytes([byte]))
                await asyncio.sleep(0.1)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(max_requests_of_user=2) as gate:
            clients = [await Client.of(gate) for _ in range(2)]
            writing = [asyncio.create_task(trickle(client, request(token))) for client in clients]
            await asyncio.sleep(0.3)
            assert (await gate.chat(token))[0] == 429
            assert [await client.status() for client in clients] == [408, 408]
            await asyncio.gather(*writing, return_exceptions=True)
            for client in clients:
                client.leave()
            await gate.idle()
            assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())


def test_slow_bodies_of_one_user_leave_memory_for_others(stage: Stage) -> None:
    """The body of another user is read, whatever the first one sends and never ends."""
    world = stage.world

    async def scenario() -> None:
        async with stage.gate(memory_mib=8) as gate:
            assert gate.seller is not None
            memory = gate.seller._memory
            clients = [await Client.of(gate) for _ in range(3)]
            part = b'{"messages":[{"role":"user","content":"' + b"x" * 1_900_000
            for number, client in enumerate(clients, 1):
                await client.send(request(stage.token(), part, length=30_000_000))
                while memory.used < number * len(part):
                    await asyncio.sleep(0.01)
            large = [{"role": "user", "content": "x" * 500_000}]
            assert (await gate.chat(stage.token(), messages=large))[0] == 503
            share = memory.share(world.provider.address)
            share.grow(2 * 2**20)
            share.free()
            for client in clients:
                client.leave()

    asyncio.run(scenario())


def test_a_thousand_streams(stage: Stage) -> None:
    """Those beyond the limits are refused at once; all others are served whole."""

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(
            streaming(events(3), pause=0.05), max_requests_of_user=200, requests_per_minute_of_user=0
        ) as gate:

            async def one() -> tuple[int, bytes]:
                status, body, _ = await gate.post("/v1/chat/completions", token, CHAT | {"stream": True})
                return status, body

            answers = await asyncio.gather(*(one() for _ in range(1000)))
            served = [body for status, body in answers if status == 200]
            assert {status for status, _ in answers} <= {200, 429, 503}
            assert all(body.endswith(b"data: [DONE]\n\n") for body in served)
            await gate.idle()
            assert len(await gate.receipts(token)) == len(served) >= 100

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 2**400, "completion_tokens": 5},
        {"prompt_tokens": 12, "completion_tokens": 10**18},
        {"prompt_tokens": 12.5, "completion_tokens": 5},
        {"prompt_tokens": "12", "completion_tokens": "5"},
        {"prompt_tokens": True, "completion_tokens": True},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 2**40, "completion_tokens": 2**40},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10**9}},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_server_that_lies_about_usage_bills_no_more_than_was_reserved(
    stage: Stage, usage: dict[str, Any], stream: bool
) -> None:
    async def lie(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not stream:
            return web.json_response(completion(usage))
        parts = events(3)
        parts[-2] = b"data: " + json.dumps({"id": "c1", "choices": [], "usage": usage}).encode() + b"\n\n"
        return await streaming(parts)(request, body)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(lie) as gate:
            status, _, _ = await gate.post("/v1/chat/completions", token, CHAT | {"stream": stream})
            receipts = await gate.receipts(token)
            assert (status, len(receipts)) in ((200, 1), (502, 0))
            for one in receipts:
                assert 0 <= one.receipt.output_tokens <= 256
                assert 0 <= one.receipt.cached_tokens <= one.receipt.input_tokens <= 1000
            gate.model.handle = plain
            assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())


@pytest.mark.parametrize("header", ["Origin", "Access-Control-Request-Headers"])
@pytest.mark.parametrize("value", [b"\xff", b"http://a\x85b", b"\xc2\x85", b"a\tb"])
def test_headers_that_cannot_be_answered(
    stage: Stage, header: str, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(events(3))) as gate:
            for method, content in (("POST", CHAT | {"stream": True}), ("OPTIONS", {})):
                client = await Client.of(gate)
                sent = request(token, content, "Origin: x", "Connection: close").replace(b"POST", method.encode(), 1)
                sent = sent.replace(b"Origin: x", header.encode() + b": " + value)
                await client.send(sent)
                got = await asyncio.wait_for(client.reader.read(), 10)
                client.leave()
                assert got.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 204 "))
            assert len(await gate.receipts(token)) == 1

    asyncio.run(scenario())
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_tokens_of_new_keys_do_not_flood_the_node(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can sign valid tokens of any number of addresses. Users who are known are served all the same."""
    monkeypatch.setattr(admission, "NEWCOMERS_PER_MINUTE", 5)
    read = ChainView._read_account
    reads: list[str] = []

    async def counted(self: ChainView, user: str) -> Any:
        reads.append(user)
        return await read(self, user)

    monkeypatch.setattr(ChainView, "_read_account", counted)

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token()))[0] == 200
            statuses = []
            for number in range(1, 20):
                key = LocalSigner(number.to_bytes(32, "big"))
                now = int(time.time() * 1000)
                provider = stage.world.provider.address
                token = sign_token(SessionToken(key.address, provider, now, now + DAY_MS, "n", 0, SESSION_ID), key)
                statuses.append((await gate.get("/v1/receipts", token))[0])
            assert statuses == [402] * 4 + [429] * 15
            assert len(set(reads)) == 5
            assert (await gate.chat(stage.token()))[0] == 200

    asyncio.run(scenario())


def test_a_gateway_may_open_as_many_files_as_its_user(stage: Stage, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with model_server() as model:
            write_home(stage, tmp_path, model.url)
            async with program(stage, tmp_path) as (process, _):
                soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
                assert soft == hard

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        asyncio.run(scenario())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_reading_has_a_rate_of_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "READS_PER_MINUTE", 3)

    async def scenario() -> None:
        async with stage.gate() as gate:
            paths = ["/v1/receipts", "/v1/receipts/0x", f"/v1/user/{stage.world.user.address}/unsettledfee"]
            statuses = [(await gate.get(path, stage.token()))[0] for path in paths * 2]
            assert statuses == [200, 404, 200, 429, 429, 429]
            assert (await gate.chat(stage.token()))[0] == 200

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b'name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n X-Injected: a', 400),
        (b'name="file"; filename="a.wav"\r\nContent-Type: audio/wav\xff', 200),
        (b'name="file"; filename="a.wav%0d%0aX-Injected: a"', 200),
        (b"name=\"file\"; filename*=utf-8''a%0d%0aX-Injected%3a%20a.wav", 200),
        (b'name="file%0d%0aX-Injected: a"; filename="a.wav"', 400),
        (b'name="file"; filename="../../etc/passwd"', 200),
        (b'name="file"; filename="a.wav"\r\nContent-Transfer-Encoding: base64', 200),
        (b'name="file"; name="model"; filename="a.wav"', 400),
        (b'name="file"; filename="a.wav"\r\nContent-Type: multipart/mixed; boundary=x', 400),
    ],
)
def test_a_part_of_a_form_brings_no_headers_and_no_path(stage: Stage, head: bytes, status: int) -> None:
    body = b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\nRIFF\r\n--b--\r\n"

    async def scenario() -> None:
        await stage.become("speech-to-text")
        async with stage.gate() as gate:
            headers = {"Authorization": stage.token(), "Content-Type": "multipart/form-data; boundary=b"}
            async with gate.http.post(gate.url("/v1/audio/transcriptions"), data=body, headers=headers) as answer:
                assert answer.status == status
            octets = "application/octet-stream"
            for seen in gate.model.seen:
                name, kind, content = seen["file"]
                assert (name, kind) in (("file.wav", "audio/wav"), ("file.wav", octets), ("file", octets))
                assert content in (b"RIFF", base64.b64decode("RIFF"))

    asyncio.run(scenario())
