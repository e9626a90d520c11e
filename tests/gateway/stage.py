# SPDX-License-Identifier: Apache-2.0
"""A gateway on the local network, with a model server that does what a test says, and clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any
from unittest.mock import patch

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.read.network import AsyncNetwork
from serving_network.gateway import running as running_module
from serving_network.gateway.running import Running, running
from serving_network.gateway.selling import Seller
from serving_network.gateway.settings import Settings
from serving_network.messages.answer_signatures import SignedAnswer, check_answer
from serving_network.messages.receipts import SignedReceipt, parse_receipt
from serving_network.messages.session_tokens import DAY_MS, SESSION_ID, SessionToken, sign_token
from serving_network.settlement.journal import open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.location import Location
from serving_network.store.opening import identity_of, read_only
from serving_network.testing import LocalNetwork
from serving_network.wallet.local import LocalSigner
from tests.clients.network_fixture import TakingTurns, World
from tests.gateway.streams import chunk, event

PROVIDER, USER, STRANGER = 1, 3, 5
CHAT = {"model": "model-1", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 256}
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def completion(usage: dict[str, int] | None = USAGE, text: str = "Hi there") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}
    return answer if usage is None else answer | {"usage": usage}


def events(count: int = 5) -> list[bytes]:
    """A stream of so many tokens: chunks with text, the one that finishes, the usage, and [DONE]."""
    usage = {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": 12 + count}
    parts = [event(chunk("word ")) for _ in range(count)]
    return [*parts, event(chunk(finish="stop")), event({"id": "c1", "choices": [], "usage": usage}), event("[DONE]")]


@dataclass
class ModelServer:
    """A model server: `handle` answers; what it was sent is in `seen`."""

    handle: Handler
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)


async def plain(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    if request.path.endswith("/audio/transcriptions"):
        return web.json_response({"text": "Hi", "usage": {"type": "duration", "seconds": 3}})
    return web.json_response(completion())


def streaming(parts: list[bytes], pause: float = 0.0) -> Handler:
    async def handle(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause)
        return response

    return handle


async def _content(request: web.Request) -> dict[str, Any]:
    """The JSON of a request, or the fields of a form: text, or the name, type and content of a file."""
    if request.content_type != "multipart/form-data":
        content: dict[str, Any] = await request.json()
        return content
    return {
        name: (one.filename, one.content_type, one.file.read()) if isinstance(one, web.FileField) else one
        for name, one in (await request.post()).items()
    }


@asynccontextmanager
async def model_server(handle: Handler = plain) -> AsyncIterator[ModelServer]:
    server = ModelServer(plain)

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await _content(request)
        server.seen.append(body)
        return await server.handle(request, body)

    application = web.Application(client_max_size=2**26)
    application.router.add_post("/v1/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        server.handle = handle
        yield server
    finally:
        await runner.cleanup()


@dataclass
class Gate:
    """A gateway that runs, and an HTTP client for it."""

    stage: Stage
    running: Running
    model: ModelServer
    http: aiohttp.ClientSession
    seller: Seller | None = None

    def check_nothing_is_left(self) -> None:
        """Nothing is reserved, held in memory, under way or begun."""
        assert self.seller is not None
        admission = self.seller._admission
        assert (admission.reserved, admission.under_way, self.seller._memory.used) == (0, 0, 0)
        assert all(one.under_way == 0 for one in self.seller._pool.health())
        with closing(read_only(self.stage.store, 10)) as connection:
            assert connection.execute("SELECT count(*) FROM begun").fetchone() == (0,)

    async def idle(self) -> None:
        """Wait until nothing is under way, and check that nothing is left of it."""
        assert self.seller is not None
        async with asyncio.timeout(20):
            while self.seller._admission.under_way or self.seller._memory.used:
                await asyncio.sleep(0.01)
        self.check_nothing_is_left()

    def url(self, path: str) -> str:
        return self.running.url + path

    async def chat(self, token: str, path: str = "/v1/chat/completions", **changes: Any) -> tuple[int, Any, str]:
        """Status, JSON and ZG-Res-Key of a chat that is not streamed."""
        async with self.http.post(self.url(path), json=CHAT | changes, headers={"Authorization": token}) as answer:
            return answer.status, await answer.json(), answer.headers.get("ZG-Res-Key", "")

    async def post(
        self, path: str, token: str, body: dict[str, Any] | aiohttp.FormData
    ) -> tuple[int, bytes, CIMultiDictProxy[str]]:
        """Status, body and headers of a request with JSON or a form."""
        given: dict[str, Any] = {"data": body} if isinstance(body, aiohttp.FormData) else {"json": body}
        async with self.http.post(self.url(path), headers={"Authorization": token}, **given) as answer:
            return answer.status, await answer.read(), answer.headers

    async def get(self, path: str, token: str | None = None) -> tuple[int, Any]:
        headers = {} if token is None else {"Authorization": token}
        async with self.http.get(self.url(path), headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def receipts(self, token: str) -> list[SignedReceipt]:
        """All receipts of a user, checked: signatures, no gap, and each billed after the one before."""
        found: list[SignedReceipt] = []
        while True:
            after = found[-1].receipt.sequence if found else 0
            status, content = await self.get(f"/v1/receipts?after={after}&limit=500", token)
            assert status == 200
            page = [parse_receipt(one) for one in content["receipts"]]
            found += page
            if not page:
                break
        billed = 0
        for sequence, one in enumerate(found, 1):
            one.check(self.stage.world.tee_signer.address)
            assert (one.receipt.sequence, one.receipt.billed_before) == (sequence, billed)
            billed += one.receipt.fee
        return found

    async def check_signature(self, key: str, request: bytes, answer: bytes) -> None:
        status, content = await self.get(f"/v1/proxy/signature/{key}?model=anything")
        assert status == 200
        signed = SignedAnswer(content["text"], bytes.fromhex(content["signature"][2:]), content["signing_address"])
        check_answer(signed, self.stage.world.tee_signer.address, request, answer)


@dataclass
class Stage:
    """The local network, which programs find at `url`, and where the provider's store is."""

    world: World
    url: str
    store: Location

    @property
    def file(self) -> Path:
        """The file of the store."""
        assert isinstance(self.store, Path)
        return self.store

    def token(
        self, user: int | LocalSigner = USER, token_id: int = SESSION_ID, *, generation: int = 0, **changes: Any
    ) -> str:
        """An Authorization header of a key or a development account, by default the user with an account."""
        signer = LocalNetwork.signer(user) if isinstance(user, int) else user
        now = int(time.time() * 1000)
        provider = self.world.provider.address
        token = SessionToken(signer.address, provider, now, now + DAY_MS, token_hex(16), generation, token_id)
        return sign_token(replace(token, **changes), signer)

    async def become(self, service_type: str) -> None:
        """Sell a service of another type."""
        world = self.world
        await self.act(lambda: world.provider.update(world.offer(service_type=service_type)))
        await self.act(lambda: world.owner.confirm(world.provider.address))

    async def act(self, action: Callable[[], object]) -> None:
        """Do something with the clients of the world, which have an event loop of their own."""
        await asyncio.to_thread(action)

    @asynccontextmanager
    async def gate(self, handle: Handler = plain, *, stop_seconds: float = 1.0, **settings: Any) -> AsyncIterator[Gate]:
        sellers: list[Seller] = []

        def seller(*given: Any) -> Seller:
            sellers.append(Seller(*given))
            return sellers[0]

        with patch.object(running_module, "Seller", seller):
            async with self._gate(handle, sellers, stop_seconds, settings) as gate:
                yield gate
        gate.check_nothing_is_left()

    @asynccontextmanager
    async def _gate(
        self, handle: Handler, sellers: list[Seller], stop_seconds: float, settings: dict[str, Any]
    ) -> AsyncIterator[Gate]:
        given: dict[str, Any] = {"port": 0} | settings
        tracing = given.pop("tracing", None)
        async with (
            model_server() as model,
            self.connected() as connection,
            running(
                Settings(self.world.provider.address, given.pop("upstream", model.url), **given),
                AsyncNetwork(connection),
                self.world.tee_signer,
                self.store,
                stop_seconds=stop_seconds,
                tracing=tracing,
            ) as started,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout()) as http,
        ):
            model.seen.clear()
            model.handle = handle
            gate = Gate(self, started, model, http, sellers[0])
            yield gate

    async def settle(self) -> Report:
        """Settle what is served, as `serving settle` does."""
        async with self.connected() as connection:
            chain = await LiveChain.open(connection, LocalNetwork.signer(PROVIDER))
            with open_journal(self.store, identity_of(self.store)) as journal:
                return await Settlement(chain, journal, self.world.tee_signer, Options(interval=0)).run(None)

    def connected(self) -> AsyncConnection:
        """A connection to the chain, as a gateway or a client has one."""
        return AsyncConnection([TakingTurns(self.world.chain)], self.world.connection.chain_id, attempts=1)


def digest(content: bytes) -> bytes:
    return sha256(content).digest()
