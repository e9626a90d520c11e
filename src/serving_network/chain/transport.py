# SPDX-License-Identifier: Apache-2.0
"""Transports for JSON-RPC: HTTP, WebSocket, and calls into a chain in this process.

A transport tries once. For a failure that may be temporary (no route, a timeout, HTTP 429 or 5xx, a rate
limit, an incomplete answer) it raises TransientFailure, and `serving_network.chain.node` decides whether to retry.

web3.py has transports too, but every command would wait two seconds for its import, and its retries cannot
distinguish a rejected request from one that never arrived.

aiohttp is imported when a node is asked: importing it takes as long as everything else that a client imports.

An answer is accepted only if it is complete, has the id of the request, and is no larger or more deeply nested than
any valid answer.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from serving_network.chain.host_limits import asks_for_smaller_range, is_rate_limit
from serving_network.errors import ConfigurationError, RpcError
from serving_network.untrusted import parse_json, printable, reason_of, without_secrets

if TYPE_CHECKING:
    import aiohttp

RpcCall = tuple[str, list[Any]]

TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
LARGEST_ANSWER = 256 * 1024 * 1024
LONGEST_WAIT = 60.0  # the most seconds that Retry-After may ask for


class TransientFailure(Exception):
    """A request failed but may succeed when retried; `wait` is the number of seconds that the node asked to wait."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Transport(Protocol):
    """A transport to one node. `where` is its URL for display, without passwords and API keys."""

    where: str

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        """The results of `calls`, in order, with an RpcError for a call that failed. Raises TransientFailure."""

    async def close(self) -> None:
        """Close the connections."""


class InProcessChain(Protocol):
    """A chain in this process, such as `EmbeddedChain`, with results in JSON-RPC format."""

    def request(self, method: str, params: list[Any]) -> Any:
        """The result of one JSON-RPC method. Raises RpcError."""


def transport_to(target: str | InProcessChain, timeout: float) -> Transport:
    """The transport for a URL (http, https, ws, wss) or a chain in this process. `timeout` is in seconds."""
    if not isinstance(target, str):
        return InProcessTransport(target)
    scheme = target.partition("://")[0].lower() if _is_url(target) else ""
    if scheme in ("http", "https"):
        return HttpTransport(target, timeout)
    if scheme in ("ws", "wss"):
        return WebSocketTransport(target, timeout)
    raise ConfigurationError(
        f"{target!r} is not the URL of a node.",
        next_step="Use a URL that starts with http://, https://, ws:// or wss://",
    )


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.port != 0 and bool((url.hostname or "").encode("idna"))
    except ValueError:
        return False


class InProcessTransport:
    """Calls into a chain in this process."""

    where = "the chain in this process"

    def __init__(self, chain: InProcessChain) -> None:
        self._chain = chain

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        return [self._ask_one(method, params) for method, params in calls]

    def _ask_one(self, method: str, params: list[Any]) -> Any | RpcError:
        try:
            return self._chain.request(method, params)
        except RpcError as refusal:
            return refusal

    async def close(self) -> None:
        """Does nothing: there is no connection."""


class HttpTransport:
    """JSON-RPC over HTTP; several calls are sent as one batch."""

    def __init__(self, url: str, timeout: float) -> None:
        self.where = without_secrets(url)
        self._url = url
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._batch_size = sys.maxsize

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        found: list[Any | RpcError] = []
        while len(found) < len(calls):
            part = calls[len(found) : len(found) + self._batch_size]
            if len(part) == 1:
                found.append(_result(await self._post(_envelope(0, part[0])), 0))
                continue
            answers = await self._post([_envelope(place, call) for place, call in enumerate(part)])
            refusal = _refusal_of_batch(answers)
            if refusal is None:
                found += _in_order(answers, len(part))
            else:
                self._batch_size = len(part) // 2 if asks_for_smaller_range(refusal) else 1
        return found

    async def _post(self, body: Any) -> Any:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        try:
            async with self._session.post(self._url, json=body) as response:
                if response.status in TRANSIENT_STATUS:
                    raise TransientFailure(f"HTTP {response.status}", _seconds(response.headers.get("Retry-After")))
                if response.status in (401, 403):
                    raise ConfigurationError(
                        f"{self.where} refused access (HTTP {response.status}).",
                        next_step="Check the API key in the network's URL: serving network show",
                    )
                content = await _read_body(response)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise TransientFailure(reason_of(error)) from error
        return _parsed(content, "" if response.ok else f" (HTTP {response.status})")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class WebSocketTransport:
    """JSON-RPC over a WebSocket, which is opened on first use and reopened after a failure."""

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

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        import aiohttp

        try:
            async with asyncio.timeout(self._timeout):
                return list(await asyncio.gather(*(self._ask_one(call) for call in calls)))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransientFailure(reason_of(error)) from error

    async def _ask_one(self, call: RpcCall) -> Any | RpcError:
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
        import aiohttp

        async with self._opening:
            if self._socket is None or self._socket.closed:
                await self.close()
                self._session = aiohttp.ClientSession()
                self._socket = await self._session.ws_connect(self._url, heartbeat=30, max_msg_size=LARGEST_ANSWER)
                self._reader = asyncio.create_task(self._read(self._socket))
            return self._socket

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        import aiohttp

        reason = "the WebSocket was closed"
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT and message.type is not aiohttp.WSMsgType.BINARY:
                continue
            try:
                answer = _parsed(message.data)
            except TransientFailure as failure:
                reason = str(failure)
                break
            number = answer.get("id") if isinstance(answer, dict) else None
            waiting = self._waiting.get(number) if type(number) is int else None
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(TransientFailure(reason))
        await socket.close()

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()
        self._reader = self._socket = self._session = None


def _envelope(number: int, call: RpcCall) -> dict[str, Any]:
    method, params = call
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > LARGEST_ANSWER:
            raise TransientFailure(f"the answer is larger than {LARGEST_ANSWER} bytes")
    return bytes(content)


def _parsed(content: str | bytes, where: str = "") -> Any:
    try:
        return parse_json(content)
    except ValueError as error:
        raise TransientFailure(
            f"the answer is not valid JSON, or is incomplete{where}: {printable(str(error))}"
        ) from error


def _seconds(retry_after: str | None) -> float:
    """The seconds in a Retry-After header, at most LONGEST_WAIT; 0 if it is missing or is a date."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdecimal()):
        return 0.0
    return min(float(retry_after), LONGEST_WAIT)


def _result(answer: Any, number: int | None = None) -> Any | RpcError:
    """The result in an answer, or its error. With `number`, the answer must have that id."""
    if not isinstance(answer, dict):
        raise TransientFailure("the answer is not a JSON-RPC answer")
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise TransientFailure("the answer is not a JSON-RPC answer")
        if number is not None and not _is_number(answer.get("id"), number):
            raise TransientFailure("the answer has the id of another request")
        return answer["result"]
    if not isinstance(error, dict):
        return RpcError(-32000, printable(error))
    code, message = error.get("code"), printable(error.get("message") or "no error message")
    if type(code) is not int:
        code = -32000
    if is_rate_limit(code, message):
        raise TransientFailure(message)
    return RpcError(code, message, error.get("data"))


def _refusal_of_batch(answers: Any) -> RpcError | None:
    """Why the node refused a batch as a whole. Raises TransientFailure if it is only busy."""
    if isinstance(answers, list):
        if len(answers) != 1 or not isinstance(answers[0], dict) or answers[0].get("error") is None:
            return None
        (answers,) = answers
    result = _result(answers)
    return result if isinstance(result, RpcError) else RpcError(-32600, "not a batch")


def _is_number(reported: Any, number: int) -> bool:
    return type(reported) is int and reported == number


def _in_order(answers: list[Any], count: int) -> list[Any | RpcError]:
    found = []
    if len(answers) != count:
        raise TransientFailure(f"a batch of {count} requests got {len(answers)} answers")
    for number in range(count):
        matching = [one for one in answers if isinstance(one, dict) and _is_number(one.get("id"), number)]
        if len(matching) != 1:
            raise TransientFailure("an answer in the batch is missing or duplicated")
        found.append(_result(matching[0]))
    return found
