# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 connections to one model server, which are used again, one request at a time each.

A general client takes five times as long for a request, more than everything else that the gateway does for it beside
signing. This one follows no redirect, keeps no cookies and decodes no compression.

Bytes arrive as the server sends them, up to BUFFER ahead of the reader; then it stops reading from the socket.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import quote, unquote, urlsplit

from aiohttp.payload import Payload
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from serving_network.untrusted import reason_of

BUFFER: Final = 2**18
MAX_HEAD: Final = 2**16
_SAFE: Final = "/%:@!$&'()*+,;=-._~"
_FRAMING: Final = {"host", "content-length", "transfer-encoding", "connection"}


class ConnectionFailed(Exception):
    """The server cannot be reached, broke off, or sent something else than HTTP."""


class ConnectTimeout(TimeoutError):
    """The server did not accept a connection in time."""


class Response(asyncio.Protocol):
    """A connection with the response that is under way on it. Close it to end the response.

    After the last byte the connection is used again, if the server agrees.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: Exception | None = ConnectionFailed("no request is under way")
        self._reading = self._writing = True
        self._asked = False
        self.idle_since = 0.0
        self._parser = HttpResponseParser(self)
        # What aiohttp's client accepts of servers, too.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )

    # ---------------------------------------------------------------------------------------------- request

    async def send(self, head: bytes, body: bytes | Payload, *, seconds: float, silence: float) -> None:
        """Send a request and read the head of its response.

        The response may take `seconds`, and the server may send nothing for `silence`. Raises ConnectionFailed and
        TimeoutError, as does `packet`.
        """
        now = self._loop.time()
        self.status = 0
        self.headers: dict[str, str] = {}
        self._head_size = 0
        self._ended = self._reusable = self._announced = self._skipped = False
        self._failure = None
        self._parts: list[bytes] = []
        self._buffered = 0
        self._deadline, self._silence, self._heard = now + seconds, silence, now
        self._asked = True
        first = now + min(seconds, silence)
        if self._timer is not None and self._timer.when() > first:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(first, self._tick)
        if isinstance(body, Payload):
            self._transport.write(head)
            await body.write(self)  # type: ignore[arg-type]  # it needs no more than `write`
        elif len(body) <= BUFFER:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            for start in range(0, len(body), BUFFER):
                await self.write(body[start : start + BUFFER])
        while not self.status:
            if self._failure is not None:
                raise self._failure
            await self._change()

    async def write(self, part: bytes | bytearray | memoryview) -> None:
        """Send a part of the body, and wait until the socket has room. After an early answer, nothing is sent."""
        if self.status or self._failure:
            self._skipped = True  # the server waits for it, or closes the connection
            return
        self._transport.write(part)
        while not self._writing and not self.status and not self._failure:
            await self._change()

    # --------------------------------------------------------------------------------------------- response

    async def packet(self) -> bytes:
        """What arrived since the last packet, at least a byte; nothing after the end."""
        while not self._parts:
            if self._ended:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._change()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._buffered = 0
        if not self._reading:
            self._reading, self._heard = True, self._loop.time()
            self._transport.resume_reading()
        return data

    def close(self) -> None:
        """End the response, once. A server that still sends learns it by the end of the connection."""
        self._asked = False
        clean = self._ended and not self._skipped and not self._parts
        if clean and self._reusable and not self._transport.is_closing():
            self._connections.keep(self)
        else:
            self._transport.abort()

    @property
    def is_usable(self) -> bool:
        """Whether another request can be sent."""
        return not self._transport.is_closing()

    # ------------------------------------------------------------------------------------- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._asked or self._ended:  # nothing was asked
            self._transport.abort()
            return
        self._heard = self._loop.time()
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._fail(ConnectionFailed(str(error)))
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._failure is None and not self._ended:
            if self.status and not self._announced and error is None:
                self._ended = True  # a body without a length lasts until the end of the connection
            else:
                self._failure = ConnectionFailed(str(error or "the server closed the connection"))
        self._wake()

    def pause_writing(self) -> None:
        self._writing = False

    def resume_writing(self) -> None:
        self._writing = True
        self._heard = self._loop.time()
        self._wake()

    # ----------------------------------------------------------------------------------- called by the parser

    def on_message_begin(self) -> None:
        if self._ended:
            raise ValueError("nothing more was asked")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            raise ValueError("the head is too long")
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
            return
        self.status = status
        self._announced = (
            "content-length" in self.headers or "transfer-encoding" in self.headers or status in (204, 304)
        )

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._buffered += len(data)
        if self._buffered >= BUFFER and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.status:
            self._ended = True
            self._reusable = self._announced and self._parser.should_keep_alive()

    # ------------------------------------------------------------------------------------------------ waiting

    def _change(self) -> asyncio.Future[None]:
        """Done when something arrives, or the connection ends."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Exception) -> None:
        if self._failure is None:
            self._failure = failure
        self._transport.abort()

    def _tick(self) -> None:
        """One timer for both limits of all responses: it is set again for the rest, since setting one costs more."""
        self._timer = None
        if not self._asked:
            return
        now = self._loop.time()
        quiet = self._heard + self._silence if self._reading else now + self._silence
        left = min(self._deadline, quiet) - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._tick)
        else:
            self._fail(TimeoutError("the server did not answer in time"))
            self._wake()


class Connections:
    """The connections to the server at `url`. `headers` are sent with each request."""

    def __init__(self, url: str, headers: Mapping[str, str], *, keep_seconds: float, connect_seconds: float) -> None:
        try:
            parts = urlsplit(url)
            given_port = parts.port
        except ValueError:
            parts, given_port = urlsplit(""), None
        self._secure = parts.scheme == "https"
        self._host = parts.hostname if parts.scheme in ("http", "https") else None
        self._port = given_port or (443 if self._secure else 80)
        self._path = quote(parts.path, safe=_SAFE)
        self._keep_seconds, self._connect_seconds = keep_seconds, connect_seconds
        given = {name.lower(): value for name, value in headers.items()}
        shown = f"[{self._host}]" if ":" in (self._host or "") else self._host or ""
        host = given.get("host", shown if given_port is None else f"{shown}:{given_port}")
        fixed = {"host": host, "accept": "*/*", "accept-encoding": "identity", "user-agent": "serving-network"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            fixed["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        self._headers = fixed | {name: value for name, value in given.items() if name not in _FRAMING}
        self._idle: list[Response] = []
        self._open: set[Response] = set()
        self._tls: ssl.SSLContext | None = None
        self._cleaning: asyncio.TimerHandle | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._cleaning is not None:
            self._cleaning.cancel()
        for one in self._open:
            one._transport.abort()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next round

    def head(self, method: str, path: str, more: dict[str, str] | None = None) -> bytes:
        """The head of a request without its last lines; `more` headers replace those of all requests."""
        lines = [f"{method} {self._path}{path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (self._headers | (more or {})).items()]
        return "\r\n".join(lines).encode() + b"\r\n"

    async def ask(self, head: bytes, body: bytes | Payload, *, seconds: float, silence: float) -> Response:
        """The response to a request with a `head`, whose body is still to be read. Close it.

        Raises ConnectionFailed and TimeoutError.
        """
        length = len(body) if isinstance(body, bytes) else body.size
        if length is None:
            raise ValueError("the length of the body is not known")
        response = self._take() or await self._connect()
        try:
            await response.send(
                b"%bcontent-length: %d\r\n\r\n" % (head, length), body, seconds=seconds, silence=silence
            )
        except BaseException:
            response.close()
            raise
        return response

    def keep(self, response: Response) -> None:
        """Keep a connection for another request."""
        response.idle_since = asyncio.get_running_loop().time()
        self._idle.append(response)
        if self._cleaning is None:
            self._cleaning = asyncio.get_running_loop().call_later(self._keep_seconds, self._clean)

    def forget(self, response: Response) -> None:
        """Remove a connection that is closed."""
        self._open.discard(response)
        if response in self._idle:
            self._idle.remove(response)

    def _take(self) -> Response | None:
        oldest = asyncio.get_running_loop().time() - self._keep_seconds
        while self._idle:
            response = self._idle.pop()
            if response.is_usable and response.idle_since >= oldest:
                return response
            response._transport.abort()
        return None

    def _clean(self) -> None:
        """Close connections that are idle for too long."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._keep_seconds
        for response in self._idle:
            if response.idle_since < oldest:
                response._transport.abort()
        self._idle = [one for one in self._idle if one.idle_since >= oldest]
        self._cleaning = loop.call_later(self._keep_seconds, self._clean) if self._idle else None

    async def _connect(self) -> Response:
        loop = asyncio.get_running_loop()
        if self._host is None:
            raise ConnectionFailed("the URL names no server")
        if self._secure and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, response = await loop.create_connection(
                    lambda: Response(self), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            raise ConnectTimeout from error
        except (OSError, ValueError) as error:  # a name that is no host is a ValueError
            raise ConnectionFailed(reason_of(error)) from error
        self._open.add(response)
        return response
