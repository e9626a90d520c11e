# SPDX-License-Identifier: Apache-2.0
"""Serve the private chain to other programs: JSON-RPC over HTTP and WebSocket on one port.

Any web page may send requests (CORS is open), as wallets and test pages need: the coins are test coins, and the keys
are public. By default it listens on this machine only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from serving_network.errors import ConfigurationError, RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.untrusted import parse_json, printable, reason_of

LARGEST_BODY = 16 * 1024 * 1024
LARGEST_BATCH = 1_000
LONGEST_BACKLOG = 10_000
WORKER_STACK = 64 * 1024 * 1024
HEARTBEAT = 30.0
SET_INTERVAL = ("evm_setIntervalMining", "hardhat_setIntervalMining")
SHORTEST_INTERVAL = 50

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
NO_NOTIFICATIONS = -32001

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "600",
}

_log = logging.getLogger(__name__)


class PortUnavailable(ConfigurationError):
    """The server cannot listen on the given host and port."""

    def __init__(self, host: str, port: int, error: OSError, other: str | None = None) -> None:
        taken = error.errno == errno.EADDRINUSE
        super().__init__(
            f"Port {port} on {host} is taken by another program."
            if taken
            else f"The server cannot listen on {host}, port {port}: {reason_of(error)}.",
            next_step=f"Stop that program, or choose another port: {other or f'serving up --port {port + 1}'}"
            if taken
            else "Use an address of this machine and a port from 1024 to 65535.",
        )
        self.port = port


class ChainServer:
    """Serves one chain. With `port` 0 the system chooses a free port, which is in `port` after `start`."""

    def __init__(self, chain: EmbeddedChain, host: str = "127.0.0.1", port: int = 8545) -> None:
        self.chain = chain
        self.host = host
        self.port = port
        self._runner: web.AppRunner | None = None
        self._miner: asyncio.Task[None] | None = None
        self._sockets: set[web.WebSocketResponse] = set()
        self._worker = _deep_worker()

    @property
    def url(self) -> str:
        return f"http://{self._authority}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self._authority}"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def start(self) -> None:
        """Start listening. Raises PortUnavailable."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("POST", "/", self._http)
        application.router.add_route("GET", "/", self._get)
        application.router.add_route("OPTIONS", "/", self._preflight)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise PortUnavailable(self.host, self.port, error) from error
        self.port = self._runner.addresses[0][1]

    async def mine_every(self, seconds: float) -> None:
        """Mine blocks at this interval from now on, instead of one for each transaction."""
        await self.ask("evm_setAutomine", [False])
        self._mine_in_intervals(seconds)

    def _set_interval(self, params: list[Any]) -> bool:
        """Mine a block every given number of milliseconds, as Hardhat does; 0 stops that. Raises RpcError."""
        interval = params[0] if len(params) == 1 else None
        if type(interval) is not int or 0 < interval < SHORTEST_INTERVAL or interval < 0:
            raise RpcError(INVALID_PARAMS, f"the interval must be 0, or {SHORTEST_INTERVAL} milliseconds or more")
        self._mine_in_intervals(interval / 1000)
        return True

    def _mine_in_intervals(self, seconds: float) -> None:
        if self._miner is not None:
            self._miner.cancel()
        self._miner = asyncio.create_task(self._mine(seconds)) if seconds else None

    async def stop(self) -> None:
        """Close every connection and stop listening. The chain stays open."""
        if self._miner is not None:
            self._miner.cancel()
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the chain was stopped")
        if self._runner is not None:
            await self._runner.cleanup()
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def ask(self, method: str, params: list[Any]) -> Any:
        """The chain's answer, without blocking other connections. Raises RpcError."""
        return await self.in_worker(lambda: self.chain.request(method, params))

    async def in_worker(self, work: Callable[[], Any]) -> Any:
        """Run `work` in the worker thread, which may block."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def _mine(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self.ask("evm_mine", [])

    async def answer(self, body: bytes | str, subscriptions: _Subscriptions | None = None) -> str | None:
        """The answer to a request or a batch, as JSON; None if there are only notifications."""
        try:
            asked = parse_json(body)
        except ValueError as error:
            return json.dumps(_error(None, PARSE_ERROR, f"parse error: {printable(str(error))}"))
        if not isinstance(asked, list):
            answer = await self._answer_one(asked, subscriptions)
            return None if answer is None else json.dumps(answer)
        if not asked:
            return json.dumps(_error(None, INVALID_REQUEST, "empty batch"))
        if len(asked) > LARGEST_BATCH:
            return json.dumps(_error(None, INVALID_REQUEST, f"batch too large: at most {LARGEST_BATCH} requests"))
        answers = [await self._answer_one(request, subscriptions) for request in asked]
        wanted = [answer for answer in answers if answer is not None]
        return json.dumps(wanted) if wanted else None

    async def _answer_one(self, asked: Any, subscriptions: _Subscriptions | None) -> dict[str, Any] | None:
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            return _error(asked.get("id") if isinstance(asked, dict) else None, INVALID_REQUEST, "invalid request")
        number, method, params = asked.get("id"), asked["method"], asked.get("params")
        if params is None:
            params = []
        if not isinstance(params, list):
            return _error(number, INVALID_PARAMS, "params must be a list")
        try:
            if method in ("eth_subscribe", "eth_unsubscribe"):
                if subscriptions is None:
                    raise RpcError(NO_NOTIFICATIONS, "notifications not supported: subscribe over a WebSocket")
                result = await subscriptions.handle(method, params)
            elif method in SET_INTERVAL:
                result = self._set_interval(params)
            else:
                result = await self.ask(method, params)
        except RpcError as refusal:
            answer = _error(number, refusal.code, refusal.message, refusal.data)
        except Exception:  # noqa: BLE001 - a bug in one method must not stop the server; it is logged
            _log.exception("%s failed", method)
            answer = _error(number, INTERNAL_ERROR, "internal error: see the log of the chain")
        else:
            answer = {"jsonrpc": "2.0", "id": number, "result": result}
        return answer if "id" in asked else None

    # HTTP

    async def _preflight(self, _: web.Request) -> web.Response:
        return web.Response(status=204, headers=CORS)

    async def _http(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            too_large = _error(None, INVALID_REQUEST, f"request too large: at most {LARGEST_BODY} bytes")
            return web.json_response(too_large, status=413, headers=CORS)
        answer = await self.answer(body)
        if answer is None:
            return web.Response(status=204, headers=CORS)
        return web.Response(text=answer, content_type="application/json", headers=CORS)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=LARGEST_BODY)
        if not socket.can_prepare(request).ok:
            hint = _error(None, INVALID_REQUEST, "send JSON-RPC with POST, or open a WebSocket")
            return web.json_response(hint, status=405, headers=CORS | {"Allow": "POST, OPTIONS"})
        await socket.prepare(request)
        self._sockets.add(socket)
        subscriptions = _Subscriptions(self, asyncio.Queue(LONGEST_BACKLOG), socket)
        writer = asyncio.create_task(subscriptions.write())
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    answer = await self.answer(message.data, subscriptions)
                    if answer is not None:
                        await subscriptions.say(answer)
        finally:
            self._sockets.discard(socket)
            writer.cancel()
            await subscriptions.end()
        return socket


@dataclass
class _Subscriptions:
    """The subscriptions of one WebSocket, and the queue of messages to send."""

    server: ChainServer
    queue: asyncio.Queue[str]
    socket: web.WebSocketResponse
    announced: set[str] = field(default_factory=set)
    answered: list[str] = field(default_factory=list)
    held: dict[str, list[Any]] = field(default_factory=dict)

    async def handle(self, method: str, params: list[Any]) -> Any:
        """Subscribe or unsubscribe. Raises RpcError."""
        chain = self.server.chain
        if method == "eth_unsubscribe":
            name = str(params[0]) if params else ""
            if name not in self.announced:
                raise RpcError(-32000, "subscription not found")
            self.announced.discard(name)
            return await self.server.in_worker(lambda: chain.unsubscribe(name))
        loop = asyncio.get_running_loop()

        def push(name: str, what: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed once the server is stopped
                loop.call_soon_threadsafe(self._notify, name, what)

        kind, criteria = [*params, None, None][:2]
        name = await self.server.in_worker(lambda: chain.subscribe(kind, criteria, push))
        self.answered.append(name)
        return name

    async def say(self, answer: str) -> None:
        """Queue an answer, and then the notifications held back for the subscriptions that it announces."""
        await self.queue.put(answer)
        while self.answered:
            name = self.answered.pop()
            self.announced.add(name)
            for what in self.held.pop(name, ()):
                self._notify(name, what)

    def _notify(self, name: str, what: Any) -> None:
        if name not in self.announced:
            self.held.setdefault(name, []).append(what)
            return
        notification = {
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": {"subscription": name, "result": what},
        }
        try:
            self.queue.put_nowait(json.dumps(notification))
        except asyncio.QueueFull:
            # A client that does not read is disconnected, so that it notices the gap.
            asyncio.get_running_loop().create_task(self.socket.close(code=WSCloseCode.TRY_AGAIN_LATER))

    async def write(self) -> None:
        """Send queued messages while the socket is open."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.socket.send_str(await self.queue.get())

    async def end(self) -> None:
        """Remove all subscriptions of this socket."""
        for name in [*self.announced, *self.answered]:
            try:
                await self.server.in_worker(partial(self.server.chain.unsubscribe, name))
            except RuntimeError:  # the worker has stopped with the server
                self.server.chain.unsubscribe(name)


def _error(number: Any, code: int, message: str, data: Any = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": number, "error": error}


def _deep_worker() -> ThreadPoolExecutor:
    """One thread whose stack is large enough for 1,024 nested contract calls on every system."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chain")
    former = threading.stack_size(WORKER_STACK)
    try:
        executor.submit(lambda: None).result()
    finally:
        threading.stack_size(former)
    return executor


@contextlib.contextmanager
def running_server(chain: EmbeddedChain, port: int = 0, block_time: float | None = None) -> Iterator[ChainServer]:
    """Serve the chain in a thread of its own while the block runs. Raises PortUnavailable.

    With `block_time`, blocks are mined at this interval in seconds instead of one for each transaction.
    """
    server = ChainServer(chain, port=port)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="chain-server", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            if block_time is not None:
                asyncio.run_coroutine_threadsafe(server.mine_every(block_time), loop).result()
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
