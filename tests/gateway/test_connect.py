# SPDX-License-Identifier: Apache-2.0
"""The local endpoint of a user: unmodified `openai` clients buy through it, and every answer is checked."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from aiohttp import web

from serving_network.clients.bills import evidence
from serving_network.clients.buying import funding, purchase
from serving_network.clients.buying.endpoint import Endpoint
from serving_network.clients.buying.funding import Funding
from serving_network.clients.buying.purchase import Buyer
from serving_network.clients.user import AsyncUser
from serving_network.messages.receipts import Ending, SignedReceipt
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.store.bills import BillIdentity, open_bill
from serving_network.testing import LocalNetwork
from serving_network.tokenizing.tokenizer import Tokenizer
from tests.gateway.stage import USER, Gate, Handler, Stage, completion, events, plain, streaming
from tests.gateway.streams import event
from tests.gateway.test_other_routes import answering

KEY = "local-key"
ASKED: dict[str, Any] = {"model": "model-1", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 256}


@dataclass
class Connected:
    """An endpoint between an `openai` client and a gateway."""

    gate: Gate
    client: openai.AsyncOpenAI
    buyer: Buyer
    funding: Funding
    url: str
    bought: list[SignedReceipt] = field(default_factory=list)


@asynccontextmanager
async def connected(
    stage: Stage,
    handle: Handler = plain,
    limit: int = 0,
    in_front: Callable[[str], Any] | None = None,
    tokenizer: Tokenizer | None = None,
    service_type: str = "chatbot",
) -> AsyncIterator[Connected]:
    """Connect to a gateway; `in_front` makes a server between them, of the gateway's URL."""
    world = stage.world
    bought: list[SignedReceipt] = []
    async with stage.gate(handle) as gate, stage.connected() as connection:
        shown = gate.running.url
        if in_front is not None:
            shown = await in_front(shown)
        await stage.act(lambda: world.provider.update(world.offer(url=shown, service_type=service_type)))
        user = AsyncUser(connection, LocalNetwork.signer(USER))
        identity = BillIdentity(31337, (await user.service()).address, world.provider.address, user.address)
        with open_bill(stage.file.with_name("bill.sqlite"), identity) as bill:
            async with Buyer(user, identity, bill, tokenizer=tokenizer) as buyer:
                funds = Funding(buyer, limit)
                endpoint = Endpoint(buyer, funds, KEY, bought.append)
                # Loading the certificates of this machine takes longer than most of these tests, which use no TLS.
                http = openai.DefaultAsyncHttpxClient(verify=False)
                async with (
                    endpoint.serving("127.0.0.1", 0) as url,
                    openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=http) as client,
                ):
                    yield Connected(gate, client, buyer, funds, url, bought)


def test_an_openai_client_talks_to_the_gateway(stage: Stage) -> None:
    """Without anything in between: `OpenAI(**user.openai(provider))`."""

    async def scenario() -> None:
        world = stage.world
        async with stage.gate() as gate:
            await stage.act(lambda: world.provider.update(world.offer(url=gate.running.url + "/")))
            arguments = await asyncio.to_thread(world.user.openai, world.provider.address)
            assert arguments["base_url"] == f"{gate.running.url}/v1/proxy"
            async with openai.AsyncOpenAI(**arguments, max_retries=0) as client:
                answer = await client.chat.completions.create(**ASKED)
                assert answer.choices[0].message.content == "Hi there"
                assert [one.id async for one in client.models.list()] == ["model-1"]
                gate.model.handle = streaming(events(3))
                stream = await client.chat.completions.create(**ASKED, stream=True)
                texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
                assert "".join(texts) == "word word word "
            async with openai.AsyncOpenAI(base_url=arguments["base_url"], api_key="no", max_retries=0) as client:
                with pytest.raises(openai.AuthenticationError, match="must begin with"):
                    await client.chat.completions.create(**ASKED)

    asyncio.run(scenario())


def test_answers_are_checked_and_their_receipts_kept(stage: Stage) -> None:
    async def scenario() -> None:
        async with connected(stage) as to:
            raw = await to.client.chat.completions.with_raw_response.create(**ASKED)
            assert json.loads(raw.content) == completion()
            assert raw.headers["X-Serving-Cost"] == "2200"
            assert [one.id async for one in to.client.models.list()] == ["model-1"]
            to.gate.model.handle = streaming(events(3))
            stream = await to.client.chat.completions.create(**ASKED, stream=True)
            texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
            assert "".join(texts) == "word word word "
            for _ in range(100):
                if len(to.bought) == 2:
                    break
                await asyncio.sleep(0.02)
            kept = to.buyer.bill.receipts()
            assert kept == to.bought
            assert [one.receipt.fee for one in kept] == [2200, 12 * 100 + 3 * 200]
            assert kept == await to.gate.receipts(stage.token())

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
def test_more_output_than_the_tokenizer_counts_is_reported(
    stage: Stage, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    async def scenario() -> None:
        usage = {"prompt_tokens": 12, "completion_tokens": 100, "total_tokens": 112}
        last = event({"id": "c1", "choices": [], "usage": usage})
        async with connected(stage, tokenizer=Tokenizer(lambda text, _: len(text.split()))) as to:
            to.gate.model.handle = streaming([*events(20)[:-2], last, event("[DONE]")]) if stream else full(usage)
            await read(to.client, stream)
            assert len(to.bought) == 1

    asyncio.run(scenario())
    assert f"bills 100 tokens of output; the tokenizer counts {20 if stream else 2}." in caplog.text


def full(usage: dict[str, int]) -> Handler:
    async def handle(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(usage))

    return handle


def test_only_the_printed_key_may_spend(stage: Stage) -> None:
    async def scenario() -> None:
        async with connected(stage) as to:
            async with openai.AsyncOpenAI(base_url=to.url, api_key="another", max_retries=0) as client:
                with pytest.raises(openai.AuthenticationError, match="not the one that serving connect printed"):
                    await client.chat.completions.create(**ASKED)
                with pytest.raises(openai.AuthenticationError):
                    await client.models.list()
            assert to.gate.model.seen == []
            async with to.gate.http.post(
                f"{to.url}/chat/completions", json=ASKED, headers={"x-api-key": KEY}
            ) as answer:
                assert answer.status == 200  # as clients of the messages route send it

    asyncio.run(scenario())


def test_images_and_transcriptions(stage: Stage) -> None:
    images = {"created": 1, "data": [{"b64_json": base64.b64encode(one).decode()} for one in (b"IMG0", b"IMG1")]}

    async def scenario() -> None:
        await stage.become("text-to-image")
        async with connected(stage, answering(images), service_type="text-to-image") as to:
            made = await to.client.images.generate(prompt="a cat", n=2)
            assert [one.b64_json for one in made.data or []] == ["SU1HMA==", "SU1HMQ=="]
            assert [one.receipt.output_fee for one in to.bought] == [400]
        await stage.become("speech-to-text")
        async with connected(stage, service_type="speech-to-text") as to:
            handle = answering({"text": "Hi", "duration": 3.6})
            to.gate.model.handle = handle
            text = await to.client.audio.transcriptions.create(model="model-1", file=("a.wav", bytes(5000)))
            assert text.text == "Hi"
            assert [one.receipt.input_fee for one in to.bought] == [400]

    asyncio.run(scenario())


def test_refusals_of_the_provider_are_passed_on(stage: Stage) -> None:
    async def scenario() -> None:
        async with connected(stage) as to:
            with pytest.raises(openai.NotFoundError, match="Its model is model-1"):
                await to.client.chat.completions.create(**ASKED | {"model": "another"})

    asyncio.run(scenario())


def test_the_receipt_of_a_stream_that_the_client_left(stage: Stage) -> None:
    async def scenario() -> None:
        async with connected(stage, streaming(events(200), pause=0.02)) as to:
            stream = await to.client.chat.completions.create(**ASKED, stream=True)
            async for _ in stream:
                break
            await stream.close()
            for _ in range(200):
                if to.bought:
                    break
                await asyncio.sleep(0.05)
            (one,) = to.bought
            assert one.receipt.ending is Ending.CUT_BY_CLIENT

    asyncio.run(scenario())


def test_the_receipt_of_a_stream_that_the_provider_cut(stage: Stage) -> None:
    async def cut(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(events(3)[0])
        await asyncio.sleep(0.1)
        assert request.transport is not None
        request.transport.close()
        return response

    async def scenario() -> None:
        async with connected(stage, cut) as to:
            with pytest.raises((openai.APIError, httpx2.RemoteProtocolError)):
                await read(to.client, stream=True)
            for _ in range(200):
                if to.bought:
                    break
                await asyncio.sleep(0.05)
            (one,) = to.bought
            assert one.receipt.ending is Ending.CUT_BY_UPSTREAM

    asyncio.run(scenario())


def test_the_account_is_topped_up_within_the_limit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(funding, "CHECK_SECONDS", 0.0)
    world = stage.world

    async def scenario() -> None:
        await stage.act(lambda: world.user.retrieve([world.provider.address]))
        async with connected(stage, limit=0) as to:
            with pytest.raises(openai.APIStatusError, match="No limit was set") as failure:
                await to.client.chat.completions.create(**ASKED)
            assert failure.value.status_code == 402
        async with connected(stage, limit=COIN) as to:
            await to.client.chat.completions.create(**ASKED)
            account = await to.buyer.user.account(to.buyer.user.address, world.provider.address)
            assert account is not None
            assert to.funding.moved == account.spendable == COIN // 10

    asyncio.run(scenario())


def test_requests_are_refused_when_the_limit_is_reached(stage: Stage) -> None:
    world = stage.world

    async def scenario() -> None:
        await stage.act(lambda: world.user.retrieve([world.provider.address]))
        async with connected(stage, limit=100_000) as to:
            with pytest.raises(openai.APIStatusError, match="more than the limit allows") as failure:
                await buy(to.client, 50)
            assert failure.value.status_code == 402
            account = await to.buyer.user.account(to.buyer.user.address, world.provider.address)
            assert account is not None
            assert to.funding.moved == account.spendable == 100_000
            assert 10 < len(to.bought) < 30

    asyncio.run(scenario())


@pytest.mark.parametrize("lie", ["lacks funds", "unsettled"])
def test_a_provider_cannot_make_more_move_than_the_limit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    monkeypatch.setattr(funding, "CHECK_SECONDS", 0.0)

    async def scenario() -> None:
        async with liar(lie) as in_front, connected(stage, limit=COIN, in_front=in_front) as to:
            if lie == "lacks funds":
                with pytest.raises(openai.APIStatusError, match="more than the limit allows"):
                    await buy(to.client, 1)
            else:
                await buy(to.client, 12)  # it says that ever more is unsettled
            assert to.funding.moved == COIN
            account = await to.buyer.user.account(to.buyer.user.address, stage.world.provider.address)
            assert account is not None
            assert account.spendable == 6 * COIN

    asyncio.run(scenario())


def test_a_provider_whose_signer_changed_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purchase, "OFFER_SECONDS", 0.0)
    world = stage.world

    async def scenario() -> None:
        async with connected(stage) as to:
            await to.client.chat.completions.create(**ASKED)
            offer = world.offer(url=to.gate.running.url, tee_signer=LocalNetwork.signer(5).address)
            await stage.act(lambda: world.provider.update(offer))
            with pytest.raises(openai.APIStatusError, match="not confirmed") as failure:
                await to.client.chat.completions.create(**ASKED)
            assert failure.value.status_code == 503
            await stage.act(lambda: world.owner.confirm(world.provider.address))
            with pytest.raises(openai.APIStatusError, match="has changed"):
                await to.client.chat.completions.create(**ASKED)

    asyncio.run(scenario())


def test_prices_may_change_and_must_be_registered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway goes by the old prices for some seconds more. They are those of the chain, which is asked."""
    monkeypatch.setattr(purchase, "OFFER_SECONDS", 0.0)
    world = stage.world

    async def scenario() -> None:
        async with connected(stage) as to:
            await to.client.chat.completions.create(**ASKED)
            await stage.act(lambda: world.provider.update(world.offer(url=to.gate.running.url, output_price=150)))
            await to.client.chat.completions.create(**ASKED)
            assert [one.receipt.output_price for one in to.bought] == [200, 200]
            monkeypatch.setattr(evidence, "LOCAL_CHAIN", 0)
            monkeypatch.setattr(evidence, "LONGEST_REQUEST", -10_000)
            with pytest.raises(openai.APIStatusError, match="billed the answer wrongly"):
                await to.client.chat.completions.create(**ASKED)

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("lie", ["answer", "receipt", "no key"])
def test_an_answer_that_is_not_proven_stops_everything(stage: Stage, lie: str, stream: bool) -> None:
    """A server between the user and the gateway changes one thing."""

    async def scenario() -> None:
        async with liar(lie) as in_front:
            handle = streaming(events(3)) if stream else plain
            async with connected(stage, handle, in_front=in_front) as to:
                with pytest.raises((openai.APIError, httpx2.RemoteProtocolError)) as failure:
                    await read(to.client, stream)
                assert stream or getattr(failure.value, "code", None) == "answer_unproven"
                with pytest.raises(openai.APIStatusError) as again:
                    await to.client.chat.completions.create(**ASKED)
                assert again.value.code == "answer_unproven"
                assert to.bought == []

    asyncio.run(scenario())


async def buy(client: openai.AsyncOpenAI, times: int) -> None:
    for _ in range(times):
        await client.chat.completions.create(**ASKED)


async def read(client: openai.AsyncOpenAI, stream: bool) -> None:
    """Ask, and read the answer to its end: `openai` stops at [DONE]."""
    async with client.chat.completions.with_streaming_response.create(**ASKED, stream=stream) as answer:
        await answer.read()


@asynccontextmanager
async def liar(lie: str) -> AsyncIterator[Callable[[str], Any]]:
    """A server in front of a gateway that lies about one thing."""
    runners: list[web.AppRunner] = []

    async def start(url: str) -> str:
        async def forward(request: web.Request) -> web.StreamResponse:
            headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
            asked = await request.read()
            async with (
                aiohttp.ClientSession() as http,
                http.request(request.method, url + request.raw_path, data=asked, headers=headers) as answer,
            ):
                body = await answer.read()
                kept = {name: answer.headers[name] for name in ("ZG-Res-Key", "Content-Type") if name in answer.headers}
            asked_receipt = "/receipts/" in request.path
            if lie == "answer" and request.method == "POST":
                body = body.replace(b"Hi", b"Ho").replace(b"word", b"ward")
            if lie == "unsettled" and request.path.endswith("/unsettledfee"):
                body = json.dumps({"unsettledFee": str(10**30)}).encode()
            if lie == "lacks funds" and request.method == "POST":
                return web.json_response({"error": {"message": "more"}}, status=402)
            if lie == "no key":
                kept.pop("ZG-Res-Key", None)
            if lie == "receipt" and asked_receipt:
                content = json.loads(body)
                content["outputFee"] = "1"
                body = json.dumps(content).encode()
            return web.Response(status=answer.status, body=body, headers=kept)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(application, access_log=None)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    try:
        yield start
    finally:
        for runner in runners:
            await runner.cleanup()
