# SPDX-License-Identifier: Apache-2.0
"""A gateway on the local network: what is served is metered, signed, durable and settled."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serving_network.messages.receipts import Ending, SignedReceipt, Source
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.settlement.journal import Journal
from serving_network.settlement.journal.records import Transaction
from serving_network.settlement.live import LiveChain
from serving_network.store.intake import Intake
from tests.gateway.stage import CHAT, Stage, completion, digest, events, plain, streaming


def test_a_chat_is_billed_signed_and_settled(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            body = json.dumps(CHAT).encode()
            headers = {"Authorization": token, "Content-Type": "application/json"}
            async with gate.http.post(gate.url("/v1/proxy/chat/completions"), data=body, headers=headers) as answer:
                assert answer.status == 200
                delivered, key = await answer.read(), answer.headers["ZG-Res-Key"]
            assert json.loads(delivered) == completion()
            await gate.check_signature(key, body, delivered)
            (one,) = await gate.receipts(token)
            receipt, disclosure = one.receipt, one.disclosure
            assert disclosure is not None
            assert (receipt.input_fee, receipt.output_fee) == (12 * 100, 5 * 200)
            assert (disclosure.request_hash, disclosure.answer_hash) == (digest(body), digest(delivered))
            assert disclosure.length == len(delivered)
            path = f"/v1/user/{stage.world.user.address}/unsettledfee"
            assert (await gate.get(path, token))[1]["unsettledFee"] == str(receipt.fee)
            report = await stage.settle()
            assert report.paid == receipt.fee
            # The settlement lowered the balance that the gateway goes by; the gateway has not read the chain since.
            with closing(sqlite3.connect(stage.file)) as connection:
                assert connection.execute("SELECT balance FROM account").fetchall() == [(str(5 * COIN - receipt.fee),)]
            assert (await gate.get(path, token))[1]["unsettledFee"] == "0"
            assert (await gate.chat(token))[0] == 200
            assert len(await gate.receipts(token)) == 2

    asyncio.run(scenario())


def test_a_stream_passes_through_and_is_billed(stage: Stage) -> None:
    parts = events()

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(parts)) as gate:
            for asked in (False, True):
                options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
                body = json.dumps(CHAT | {"stream": True} | options).encode()
                headers = {"Authorization": token, "Content-Type": "application/json"}
                async with gate.http.post(gate.url("/v1/chat/completions"), data=body, headers=headers) as answer:
                    delivered, key = await answer.read(), answer.headers["ZG-Res-Key"]
                expected = parts if asked else [part for part in parts if b"usage" not in part]
                assert delivered == b"".join(expected)
                assert gate.model.seen[-1]["stream_options"]["include_usage"] is True
                await gate.check_signature(key, body, delivered)
            for one in await gate.receipts(token):
                assert (one.receipt.input_tokens, one.receipt.output_tokens) == (12, 5)
                assert (one.receipt.ending, one.receipt.source) == (Ending.COMPLETE, Source.USAGE)

    asyncio.run(scenario())


def test_completions_and_embeddings(stage: Stage) -> None:
    async def complete(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"choices": [{"text": "x"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})

    async def embed(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 7, "total_tokens": 7}})

    async def scenario() -> None:
        token = stage.token()
        headers = {"Authorization": token}
        async with stage.gate(complete) as gate:
            body = {"prompt": "Hi", "max_tokens": 4}
            async with gate.http.post(gate.url("/v1/completions"), json=body, headers=headers) as answer:
                assert answer.status == 200
            async with gate.http.post(gate.url("/v1/embeddings"), json={"input": "Hi"}, headers=headers) as answer:
                assert answer.status == 404
        world = stage.world
        await stage.act(lambda: world.provider.update(world.offer(service_type="embedding")))
        await stage.act(lambda: world.owner.confirm(world.provider.address))
        async with stage.gate(embed) as gate:
            async with gate.http.post(gate.url("/v1/embeddings"), json={"input": "Hi"}, headers=headers) as answer:
                assert answer.status == 200
            fees = [one.receipt.fee for one in await gate.receipts(token)]
        assert fees == [3 * 100 + 2 * 200, 7 * 100]

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/proxy/chat/completions", "//v1//proxy/v1/chat/completions/"])
def test_spellings_of_the_route(stage: Stage, path: str) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token(), path))[0] == 200

    asyncio.run(scenario())


def test_parallel_requests_never_cost_more_than_there_is(stage: Stage) -> None:
    """50 requests of a user with money for ten."""
    world = stage.world
    world.provider.update(world.offer(input_price=0, output_price=COIN // 512))
    price = 256 * (COIN // 512)  # half a coin
    release = asyncio.Event()

    async def held(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        await release.wait()
        usage = {"prompt_tokens": 12, "completion_tokens": 256}
        return web.json_response(completion(usage))

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(held) as gate:
            waiting = [asyncio.create_task(gate.chat(token)) for _ in range(50)]
            while sum(one.done() for one in waiting) < 40:
                await asyncio.sleep(0.02)
            release.set()
            answers = await asyncio.gather(*waiting)
            statuses = sorted(status for status, _, _ in answers)
            assert statuses == [200] * 10 + [402] * 40
            refusal = next(body for status, body, _ in answers if status == 402)
            assert refusal["error"]["code"] == "insufficient_funds"
            assert "serving ledger fund" in refusal["error"]["message"]
            receipts = await gate.receipts(token)
            assert sum(one.receipt.fee for one in receipts) == 10 * price <= 5 * COIN
            report = await stage.settle()
            assert report.paid == 10 * price
            assert (await gate.chat(token))[0] == 402
            await stage.act(lambda: world.user.fund(world.provider.address, COIN))
            assert (await gate.chat(token))[0] == 200

    asyncio.run(scenario())
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert account.balance == 6 * COIN - 10 * price


def dies(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


async def full(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion({"prompt_tokens": 12, "completion_tokens": 256}))


def test_a_settlement_that_is_mined_and_not_booked_takes_no_coin_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settlement run dies in between: the balance is lower already, so these requests are not unsettled."""
    world = stage.world
    world.provider.update(world.offer(input_price=0, output_price=COIN // 256))
    accept = Journal.accept

    async def scenario() -> None:
        token = stage.token()
        path = f"/v1/user/{world.user.address}/unsettledfee"
        async with stage.gate(full) as gate:
            for _ in range(3):
                assert (await gate.chat(token))[0] == 200
            monkeypatch.setattr(Journal, "accept", dies)
            with pytest.raises(KeyboardInterrupt):
                await asyncio.to_thread(lambda: asyncio.run(stage.settle()))
            monkeypatch.setattr(Journal, "accept", accept)
            # Three coins are paid, and two are left.
            assert [(await gate.chat(token))[0] for _ in range(3)] == [200, 200, 402]
            assert (await gate.get(path, token))[1]["unsettledFee"] == str(2 * COIN)
            await stage.settle()
            assert (await gate.get(path, token))[1]["unsettledFee"] == "0"
            assert (await gate.chat(token))[0] == 402

    asyncio.run(scenario())
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert account.balance == 0


def test_a_settlement_that_paid_less_than_expected_leaves_the_rest_unsettled(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its preview and its block, a refund takes coins out of the account. The run dies before booking."""
    world = stage.world
    world.provider.update(world.offer(input_price=0, output_price=COIN // 256))
    broadcast = LiveChain.broadcast

    async def late(self: LiveChain, transaction: Transaction) -> None:
        await stage.act(lambda: world.user.retrieve([world.provider.address]))
        await broadcast(self, transaction)

    async def scenario() -> None:
        token = stage.token()
        path = f"/v1/user/{world.user.address}/unsettledfee"
        async with stage.gate(full) as gate:
            for _ in range(3):
                assert (await gate.chat(token))[0] == 200
        await stage.act(lambda: world.user.retrieve([world.provider.address]))
        await stage.act(lambda: world.network.travel(86_400))
        await stage.act(lambda: world.user.fund(world.provider.address, COIN))
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "accept", dies)
            patched.setattr(LiveChain, "broadcast", late)
            with pytest.raises(KeyboardInterrupt):
                await asyncio.to_thread(lambda: asyncio.run(stage.settle()))
        await stage.act(lambda: world.user.fund(world.provider.address, 3 * COIN))
        async with stage.gate(full) as gate:
            # One of the three coins is paid, and the account has three.
            assert [(await gate.chat(token))[0] for _ in range(2)] == [200, 402]
            assert (await gate.get(path, token))[1]["unsettledFee"] == str(3 * COIN)

    asyncio.run(scenario())


def test_a_bound_shrinks_to_what_the_money_covers(stage: Stage) -> None:
    world = stage.world
    world.provider.update(world.offer(input_price=0, output_price=5 * COIN // 300))

    async def scenario() -> None:
        async with stage.gate() as gate:
            headers = {"Authorization": stage.token()}
            body = CHAT | {"max_tokens": 1000}
            async with gate.http.post(gate.url("/v1/chat/completions"), json=body, headers=headers) as answer:
                assert (answer.status, answer.headers["X-Serving-Output-Bound"]) == (200, "300")
            assert gate.model.seen[-1]["max_tokens"] == 300

    asyncio.run(scenario())


def test_a_cut_stream_is_billed_for_what_was_delivered(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(streaming(events(200), pause=0.02)) as gate:
            body = CHAT | {"stream": True}
            async with gate.http.post(
                gate.url("/v1/chat/completions"), json=body, headers={"Authorization": token}
            ) as answer:
                got = b""
                while got.count(b"word") < 10:
                    got += await answer.content.readany()
                answer.close()
            for _ in range(100):
                if receipts := await gate.receipts(token):
                    break
                await asyncio.sleep(0.02)
            (one,) = receipts
            assert one.receipt.ending is Ending.CUT_BY_CLIENT
            assert one.receipt.source is Source.DELTAS
            assert 10 <= one.receipt.output_tokens < 100
            assert one.receipt.input_fee == 0
            assert one.disclosure is not None
            assert one.disclosure.length >= len(got)

    asyncio.run(scenario())


def test_a_stream_that_the_model_server_cuts(stage: Stage) -> None:
    async def cut(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in events()[:3]:
            await response.write(part)
            await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.close()
        return response

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(cut) as gate:
            body = CHAT | {"stream": True}
            async with gate.http.post(
                gate.url("/v1/chat/completions"), json=body, headers={"Authorization": token}
            ) as answer:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            (one,) = await gate.receipts(token)
            assert (one.receipt.ending, one.receipt.output_tokens) == (Ending.CUT_BY_UPSTREAM, 3)

    asyncio.run(scenario())


def test_an_answer_whose_client_left_is_kept(stage: Stage) -> None:
    release = asyncio.Event()

    async def held(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await release.wait()
        return await plain(request, body)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(held) as gate:
            waiting = asyncio.create_task(gate.chat(token))
            while not gate.model.seen:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            release.set()
            while not (receipts := await gate.receipts(token)):
                await asyncio.sleep(0.02)
            id_ = "0x" + receipts[0].receipt.id.hex()
            assert await gate.get(f"/v1/receipts/{id_}/answer", token) == (200, completion())
            assert (await gate.get(f"/v1/receipts/{id_}/answer"))[0] == 401
            assert (await gate.get(f"/v1/receipts/{id_}/answer", stage.token(token_id=3)))[0] == 404

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "seen"), [(400, 400), (429, 429), (401, 502), (500, 502), (302, 502)], ids=lambda status: str(status)
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_not_200_is_not_billed(stage: Stage, status: int, seen: int, stream: bool) -> None:
    async def refuse(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=status)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(refuse) as gate:
            assert (await gate.chat(token, stream=stream))[0] == seen
            assert await gate.receipts(token) == []
            gate.model.handle = plain
            assert (await gate.chat(token, stream=stream))[0] == 200

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [2**20, 5 * 2**20])
def test_long_requests_and_answers(stage: Stage, size: int) -> None:
    async def echo(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(text=body["messages"][0]["content"]))

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(echo) as gate:
            body = json.dumps(CHAT | {"messages": [{"role": "user", "content": "x" * size}]}).encode()
            headers = {"Authorization": token, "Content-Type": "application/json"}
            async with gate.http.post(gate.url("/v1/chat/completions"), data=BytesIO(body), headers=headers) as answer:
                assert answer.status == 200
                assert await answer.json() == completion(text="x" * size)

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_usage_is_not_delivered(stage: Stage, stream: bool) -> None:
    async def silent(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(usage=None))

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(silent) as gate:
            status, body, _ = await gate.chat(token, stream=stream)
            assert (status, body["error"]["code"]) == (502, "not_metered")
            assert await gate.receipts(token) == []

    asyncio.run(scenario())


def test_a_stop_cuts_streams_and_bills_them(stage: Stage) -> None:
    async def scenario() -> None:
        token = stage.token()
        async with aiohttp.ClientSession() as staying:
            async with stage.gate(streaming(events(500), pause=0.02), stop_seconds=0.1) as gate:
                body = CHAT | {"stream": True}
                url = gate.url("/v1/chat/completions")
                answer = await staying.post(url, json=body, headers={"Authorization": token})
                await answer.content.readany()
            answer.close()
        async with stage.gate() as gate:
            (one,) = await gate.receipts(token)
            assert one.receipt.ending is Ending.CUT_BY_STOP
            assert one.receipt.output_tokens > 0

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_the_end_of_an_answer_waits_for_its_row(stage: Stage, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    finishing, stored = asyncio.Event(), asyncio.Event()
    finish = Intake.finish

    async def slow(self: Intake, *given: Any, **named: Any) -> SignedReceipt | None:
        finishing.set()
        await stored.wait()
        return await finish(self, *given, **named)

    monkeypatch.setattr(Intake, "finish", slow)

    async def scenario() -> None:
        parts = [part for part in events() if b"usage" not in part]
        got = b""

        async def read(answer: aiohttp.ClientResponse) -> None:
            nonlocal got
            while packet := await answer.content.readany():
                got += packet

        async with stage.gate(streaming(events(), pause=0.01) if stream else plain) as gate:
            headers = {"Authorization": stage.token()}
            body = CHAT | {"stream": stream}
            waiting = asyncio.create_task(gate.http.post(gate.url("/v1/chat/completions"), json=body, headers=headers))
            reading = asyncio.create_task(read(await waiting)) if stream else None
            await finishing.wait()
            await asyncio.sleep(0.1)
            early, answered = got, waiting.done()
            stored.set()
            if reading is None:
                assert not answered
                assert await (await waiting).json() == completion()
            else:
                await reading
                assert early.startswith(parts[0])
                assert parts[-1] not in early
                assert got == b"".join(parts)

    asyncio.run(scenario())
