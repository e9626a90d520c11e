# SPDX-License-Identifier: Apache-2.0
"""One model server: an OpenAI-compatible API behind the gateway.

It gets the gateway's own headers, never the client's. Answers are asked for without compression, since hashes are over
the bytes that the client gets.

| the model server | the client gets | another server is asked | counts as a failure |
|---|---|---|---|
| answers 400, 413 or 422 | this answer | no | no |
| answers 404 or 405 | 404 | yes | no |
| answers 429 | this answer | yes | no |
| answers with another status than 200 | 502 | yes | yes |
| cannot be reached, or cuts the answer before its first byte is passed on | 502 | yes | yes |
| sends nothing for too long | 502 | no | yes |

Credentials and internal errors of the provider are not the client's concern, so their answers are replaced.
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from serving_network.gateway.connections import ConnectionFailed, Connections, ConnectTimeout, Response
from serving_network.gateway.memory import Share
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route
from serving_network.gateway.upstreams import UpstreamSettings
from serving_network.tokenizing.tokenizer import Tokenizer

CONNECT_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 4.0
"""Less than the 5 seconds of uvicorn and llama.cpp, so that no request is sent on a connection that they close."""
SILENCE_SECONDS: Final = 300.0
"""How long a model server may send nothing."""
LONGEST_SECONDS: Final = 900.0
"""How long a request may take."""
ALIVE_SECONDS: Final = 5.0
MAX_ANSWER: Final = 256 * 2**20
MAX_REFUSAL: Final = 65_536
_JSON: Final = {"content-type": "application/json"}

Payload = bytes | aiohttp.FormData


class UpstreamRefused(RequestRefused):
    """A model server does not serve a request. `others`: ask another one; `failed`: it counts as a failure.

    `passed_on` is the content type and body of an answer that the client gets as it is.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        others: bool,
        failed: bool,
        retry_after: int | None = None,
        passed_on: tuple[str, bytes] | None = None,
    ) -> None:
        super().__init__(status, code, message, retry_after=retry_after)
        self.others = others
        self.failed = failed
        self._passed_on = passed_on
        if passed_on is not None:
            self.content_type = passed_on[0]

    @property
    def passed_on(self) -> bytes:
        """What the model server answered; empty if the gateway answers itself."""
        return b"" if self._passed_on is None else self._passed_on[1]

    def body(self) -> bytes:
        """The body of the answer."""
        return super().body() if self._passed_on is None else self._passed_on[1]


class UpstreamCut(Exception):
    """The model server ended a stream in its middle, or sent nothing for too long."""


class Answer:
    """An answer with status 200: `body` is the whole of it, None if it is streamed."""

    def __init__(
        self,
        response: Response,
        content_type: str,
        start: bytes,
        *,
        streamed: bool,
        continuous_usage: bool,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.continuous_usage = continuous_usage
        self.tokenizer = tokenizer
        self.content_type = content_type
        self.body = None if streamed else start
        self._response = response
        self._closed = False
        self._first = start if streamed else b""

    async def packet(self) -> bytes:
        """The next packet of a stream, empty at its end. Raises UpstreamCut."""
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            return await self._response.packet()
        except (ConnectionFailed, TimeoutError) as error:
            raise UpstreamCut from error

    def close(self) -> None:
        """End the answer, and tell the model server so if it is under way. The second time does nothing."""
        if not self._closed:
            self._closed = True
            self._response.close()


class Upstream:
    """One model server."""

    def __init__(self, settings: UpstreamSettings, tokenizer: Tokenizer | None = None) -> None:
        self.settings = settings
        self.tokenizer = tokenizer
        self.url = settings.url.rstrip("/")
        self.continuous_usage = bool(settings.continuous_usage)
        """Whether it is asked for the usage in every chunk of a stream."""
        self._connections = Connections(
            self.url, settings.headers, keep_seconds=KEEP_ALIVE_SECONDS, connect_seconds=CONNECT_SECONDS
        )
        self._json = {route: self._connections.head("POST", route.value, _JSON) for route in Route}

    async def close(self) -> None:
        """Close its connections."""
        await self._connections.close()

    async def ask(
        self, route: Route, payload: Payload, share: Share, *, stream: bool, seconds: float = LONGEST_SECONDS
    ) -> Answer:
        """Forward a request, and read its answer: the whole of it, or a stream up to its first packet.

        It may take `seconds` to its end. Close the answer. Raises UpstreamRefused, and RequestRefused if the memory is
        spent.
        """
        head, body = self._json[route], payload if isinstance(payload, bytes) else payload()
        if not isinstance(body, bytes):
            head = self._connections.head("POST", route.value, {"content-type": body.headers["Content-Type"]})
        try:
            response = await self._connections.ask(head, body, seconds=seconds, silence=SILENCE_SECONDS)
        except TimeoutError as error:
            raise _silent(connected=not isinstance(error, ConnectTimeout)) from error
        except ConnectionFailed as error:
            raise _unreachable() from error
        try:
            if response.status != 200:
                raise await _refusal(response, route)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise _failure("The model server compressed its answer.")
            content_type = _content_type(response)
            streamed = stream and content_type.startswith("text/event-stream")
            start = await (_first(response) if streamed else _whole(response, share))
            return Answer(
                response,
                content_type,
                start,
                streamed=streamed,
                continuous_usage=self.continuous_usage,
                tokenizer=self.tokenizer,
            )
        except BaseException:
            response.close()
            raise

    async def is_alive(self) -> bool:
        """Whether it answers at all."""
        head = self._connections.head("GET", "/models")
        try:
            response = await self._connections.ask(head, b"", seconds=ALIVE_SECONDS, silence=ALIVE_SECONDS)
        except (ConnectionFailed, TimeoutError):
            return False
        response.close()
        return response.status < 500


def _content_type(response: Response) -> str:
    """The type of an answer, if it can be passed on: headers of a server may have bytes that are not text."""
    given = response.headers.get("content-type", "")
    return given if given.isascii() and given.isprintable() and given else "application/json"


async def _first(response: Response) -> bytes:
    try:
        first = await response.packet()
    except TimeoutError as error:
        raise _silent() from error
    except ConnectionFailed as error:
        raise _cut() from error
    if not first:
        raise _cut()
    return first


async def _whole(response: Response, share: Share) -> bytes:
    parts: list[bytes] = []
    length = 0
    try:
        while part := await response.packet():
            share.grow(len(part))
            parts.append(part)
            length += len(part)
            if length > MAX_ANSWER:
                raise _failure("The answer of the model server is too long.", others=False)
    except TimeoutError as error:
        raise _silent() from error
    except ConnectionFailed as error:
        raise _cut() from error
    return b"".join(parts)


async def _refusal(response: Response, route: Route) -> UpstreamRefused:
    status = response.status
    if status in (404, 405):
        return UpstreamRefused(
            404, "unknown_route", f"The model server does not offer /v1{route.value}.", others=True, failed=False
        )
    if status not in (400, 413, 422, 429):
        return _failure(f"The model server answered with status {status}.")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            body = b""
            while len(body) < MAX_REFUSAL and (part := await response.packet()):
                body += part[: MAX_REFUSAL - len(body)]
    except (ConnectionFailed, TimeoutError):
        return _cut()
    content_type = _content_type(response)
    wait = response.headers.get("retry-after", "")
    return UpstreamRefused(
        status,
        "upstream_refused",
        "The model server refused the request.",
        others=status == 429,
        failed=False,
        retry_after=int(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 6 else None,
        passed_on=(content_type, body),
    )


def _unreachable() -> UpstreamRefused:
    return UpstreamRefused(502, "upstream_unreachable", "The model server does not answer.", others=True, failed=True)


def _silent(*, connected: bool = True) -> UpstreamRefused:
    """A request that took this long is not started again elsewhere: no client waits twice as long."""
    message = "The model server did not answer in time."
    return UpstreamRefused(502, "upstream_timeout", message, others=not connected, failed=True)


def _cut() -> UpstreamRefused:
    return _failure("The model server cut its answer.")


def _failure(message: str, *, others: bool = True) -> UpstreamRefused:
    return UpstreamRefused(502, "upstream_failed", message, others=others, failed=True)
