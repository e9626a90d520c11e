"""How a JSON-RPC question reaches a chain: over HTTP, over a WebSocket, or as a call into this process.

A transport asks once. What failed in a way that may pass (no route, a time-out, HTTP 429 or 5xx, half an
answer) it raises as TransientFailure, and `serving_network.chain.node` decides whether to ask again.

web3.py has transports too, but importing it takes two seconds, which every command would pay, and its
retries cannot tell a refused question from one that never arrived.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, Protocol

import aiohttp

from serving_network.errors import ConfigurationError, RpcError

Call = tuple[str, list[Any]]

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
TRANSIENT_CODES = frozenset({429, -32005})  # rate limits
LARGEST_ANSWER = 256 * 1024 * 1024


class TransientFailure(Exception):
    """The question may succeed when asked again; `wait` is how many seconds the node asked to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Transport(Protocol):
    """One way to one node. `where` names it for people, without a password or an API key in it."""

    where: str

    async def ask(self, calls: list[Call]) -> list[Any | RpcError]:
        """The answers to `calls` in order, a refusal in its place. Raises TransientFailure for the whole."""

    async def close(self) -> None:
        """Give back what the transport holds."""


class InProcessChain(Protocol):
    """A chain in this process, such as `EmbeddedChain`: results shaped as JSON-RPC shapes them."""

    def request(self, method: str, params: list[Any]) -> Any:
        """The result of one JSON-RPC method. Raises RpcError."""


def transport_to(target: str | InProcessChain, timeout: float) -> Transport:
    """The transport for a URL (http, https, ws, wss) or a chain in this process. `timeout` is in seconds."""
    if not isinstance(target, str):
        return InProcessTransport(target)
    scheme = target.partition("://")[0].lower()
    if scheme in ("http", "https"):
        return HttpTransport(target, timeout)
    if scheme in ("ws", "wss"):
        return WebSocketTransport(target, timeout)
    raise ConfigurationError(
        f"{target!r} is not the address of a node.",
        next_step="Give a URL that begins with http://, https://, ws:// or wss://",
    )


def without_secrets(url: str) -> str:
    """`url` as scheme and host: paths and queries of hosted nodes carry API keys."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}"


class InProcessTransport:
    """Calls into a chain in this process."""

    where = "the chain in this process"

    def __init__(self, chain: InProcessChain) -> None:
        self._chain = chain

    async def ask(self, calls: list[Call]) -> list[Any | RpcError]:
        return [self._ask_one(method, params) for method, params in calls]

    def _ask_one(self, method: str, params: list[Any]) -> Any | RpcError:
        try:
            return self._chain.request(method, params)
        except RpcError as refusal:
            return refusal

    async def close(self) -> None:
        """Nothing is held."""


class HttpTransport:
    """JSON-RPC over HTTP; several calls travel as one batch."""

    def __init__(self, url: str, timeout: float) -> None:
        self.where = without_secrets(url)
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._batches_understood = True

    async def ask(self, calls: list[Call]) -> list[Any | RpcError]:
        if len(calls) > 1 and self._batches_understood:
            answers = await self._post([_envelope(place, call) for place, call in enumerate(calls)])
            if isinstance(answers, list):
                return _in_order(answers, len(calls))
            self._batches_understood = False
        return [_result(await self._post(_envelope(0, call))) for call in calls]

    async def _post(self, body: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._session.post(self._url, json=body) as response:
                if response.status in TRANSIENT_STATUS:
                    wait = response.headers.get("Retry-After", "")
                    raise TransientFailure(f"HTTP {response.status}", float(wait) if wait.isdecimal() else 0.0)
                if response.status in (401, 403):
                    raise ConfigurationError(
                        f"{self.where} refused access (HTTP {response.status}).",
                        next_step="Check the API key in the network's address: serving network show",
                    )
                return json.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientFailure(str(error) or type(error).__name__) from error
        except ValueError as error:
            raise TransientFailure("the answer is not JSON, or only half of it") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class WebSocketTransport:
    """JSON-RPC over a WebSocket that is opened when first needed and again after it broke."""

    def __init__(self, url: str, timeout: float) -> None:
        self.where = without_secrets(url)
        self._url = url
        self._timeout = timeout
        self._ids = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def ask(self, calls: list[Call]) -> list[Any | RpcError]:
        try:
            async with asyncio.timeout(self._timeout):
                return list(await asyncio.gather(*(self._ask_one(call) for call in calls)))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientFailure(str(error) or type(error).__name__) from error

    async def _ask_one(self, call: Call) -> Any | RpcError:
        socket = await self._open()
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await socket.send_json(_envelope(number, call))
            return _result(await answer)
        finally:
            del self._waiting[number]

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        async with self._opening:
            if self._socket is None or self._socket.closed:
                await self.close()
                self._session = aiohttp.ClientSession()
                self._socket = await self._session.ws_connect(self._url, heartbeat=30, max_msg_size=LARGEST_ANSWER)
                self._reader = asyncio.create_task(self._read(self._socket))
            return self._socket

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT and message.type is not aiohttp.WSMsgType.BINARY:
                continue
            try:
                answer = json.loads(message.data)
            except ValueError:
                break
            waiting = self._waiting.get(answer.get("id", -1)) if isinstance(answer, dict) else None
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
        await socket.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(TransientFailure("the WebSocket was closed"))

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()
        self._reader = self._socket = self._session = None


def _envelope(number: int, call: Call) -> dict[str, Any]:
    method, params = call
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def _result(answer: Any) -> Any | RpcError:
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise TransientFailure("the answer is not a JSON-RPC answer")
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if not isinstance(error, dict):
        return RpcError(-32000, str(error))
    code = error.get("code", -32000)
    if code in TRANSIENT_CODES:
        raise TransientFailure(str(error.get("message", "rate limit")))
    return RpcError(code, str(error.get("message", "an error without words")), error.get("data"))


def _in_order(answers: list[Any], count: int) -> list[Any | RpcError]:
    by_number = {answer.get("id"): answer for answer in answers if isinstance(answer, dict)}
    if any(number not in by_number for number in range(count)):
        raise TransientFailure("an answer of the batch is missing")
    return [_result(by_number[number]) for number in range(count)]
