# SPDX-License-Identifier: Apache-2.0
"""The model server: an OpenAI-compatible API behind the gateway.

It gets the gateway's own headers, never the client's. Answers are asked for without compression, since hashes are over
the bytes that the client gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route

CONNECT_SECONDS: Final = 10.0
MAX_ANSWER: Final = 256 * 1024 * 1024
_READ_SIZE: Final = 2**18


class Upstream:
    """One model server. `url` is its base with /v1; it may send nothing for `silence` seconds, and take `longest`."""

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, *, silence: float = 300.0, longest: float = 900.0
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._silence = silence
        self._longest = longest
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Start using it."""
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._longest, sock_connect=CONNECT_SECONDS, sock_read=self._silence),
            read_bufsize=_READ_SIZE,
        )

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def post(self, route: Route, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        """Forward a request. Raises RequestRefused with 502 if the model server does not answer it."""
        if self._session is None:
            raise RuntimeError("Open the upstream before it is used.")
        try:
            response = await self._session.post(
                self.url + route.value,
                data=body,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable() from error
        try:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise RequestRefused(502, "upstream_failed", "The model server compressed its answer.")
            yield response
        finally:
            response.close()

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """The whole body of an answer. Raises RequestRefused with 502 if it is cut or too long."""
        parts: list[bytes] = []
        length = 0
        try:
            while part := await response.content.readany():
                parts.append(part)
                length += len(part)
                if length > MAX_ANSWER:
                    raise RequestRefused(502, "upstream_failed", "The answer of the model server is too long.")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RequestRefused(502, "upstream_failed", "The model server cut its answer.") from error
        return b"".join(parts)


def unreachable() -> RequestRefused:
    """The refusal if the model server cannot be reached."""
    return RequestRefused(502, "upstream_unreachable", "The model server does not answer.", next_step="Try again.")


async def refusal_of(upstream: Upstream, response: aiohttp.ClientResponse) -> tuple[int, str, bytes]:
    """What a client gets for an answer that is not 200: status, content type and body; nothing is billed.

    A client's mistake is passed on as the model server describes it. The provider's own credentials and internal errors
    are not the client's concern.
    """
    if response.status in (400, 404, 413, 422, 429):
        async with asyncio.timeout(CONNECT_SECONDS):
            body = await upstream.read(response)
        return response.status, response.headers.get("Content-Type", "application/json"), body
    refusal = RequestRefused(502, "upstream_failed", f"The model server answered with status {response.status}.")
    return refusal.status, "application/json", refusal.body()
