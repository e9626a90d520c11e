# SPDX-License-Identifier: Apache-2.0
"""The body of a paid request: read within the memory budget, and taken apart if it is a form."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from warnings import catch_warnings, simplefilter

import aiohttp
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError

from serving_network.gateway import requests
from serving_network.gateway.memory import Share
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.requests import File, PaidForm, PaidRequest, Terms
from serving_network.gateway.routes import Route

PAUSE_SECONDS: Final = 30.0
"""A client that sends nothing of its body for so long is refused."""
BODY_SECONDS: Final = 300.0
"""How long a body may take."""
MAX_PARTS: Final = 256
LONG_BODY: Final = 2**18

_KIND = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,8})?\Z")


class Bodies:
    """Reads the bodies of requests. Close it at the end.

    Long ones are parsed one after the other in a thread, because that can take seconds, in which the event loop serves
    others.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._parser = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parser")

    def close(self) -> None:
        """Stop parsing."""
        self._parser.shutdown(wait=False, cancel_futures=True)

    async def read(self, request: web.BaseRequest, route: Route, share: Share) -> tuple[bytes, PaidRequest | PaidForm]:
        """The body of a request, and what it asks. Raises RequestRefused."""
        body = await _read(request, route, share)
        if route.is_multipart:
            fields, files = await _parts(body, request.headers["Content-Type"])
            return body, requests.read_form(route, fields, files, self._terms)
        if len(body) < LONG_BODY:
            return body, requests.read_request(route, body, self._terms)
        loop = asyncio.get_running_loop()
        return body, await loop.run_in_executor(self._parser, requests.read_request, route, body, self._terms)


async def _read(request: web.BaseRequest, route: Route, share: Share) -> bytes:
    requests.check_headers(
        route,
        request.headers.get("Content-Type", ""),
        request.headers.get("Content-Encoding", ""),
        request.content_length,
    )
    if request.content.is_eof():  # it came with the headers
        body = request.content.read_nowait()
        share.grow(len(body))
        return body
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts: list[bytes] = []
    length = 0
    end = asyncio.get_running_loop().time() + BODY_SECONDS
    try:
        while True:
            async with asyncio.timeout(PAUSE_SECONDS) as pause:
                pause.reschedule(min(end, pause.when() or end))
                part = await request.content.readany()
            if not part:
                return b"".join(parts)
            length += len(part)
            requests.check_size(length)
            share.grow(len(part))
            parts.append(part)
    except TimeoutError:
        raise RequestRefused(408, "body_timeout", "The body did not arrive in time.") from None


async def _parts(body: bytes, content_type: str) -> tuple[list[tuple[str, str]], list[File]]:
    """The text fields and the files of a form. It is written anew for the model server, so both read the same."""
    content = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), len(body) + 1)
    content.feed_data(body)
    content.feed_eof()
    fields: list[tuple[str, str]] = []
    files: list[File] = []
    # aiohttp warns of headers that it cannot read, and Python keeps each warning. Nothing here leaves the event loop.
    with catch_warnings():
        simplefilter("error", RuntimeWarning)
        try:
            async for part in aiohttp.MultipartReader({"Content-Type": content_type}, content):
                if isinstance(part, aiohttp.MultipartReader) or part is None or not part.name:
                    raise _malformed("A part has no name or several parts of its own")
                if len(fields) + len(files) >= MAX_PARTS:
                    raise _malformed(f"It has more than {MAX_PARTS} parts")
                part_content = bytes(await part.read())
                if part.filename is None:
                    fields.append((part.name, part_content.decode()))
                else:
                    suffix = _SUFFIX.search(part.filename)
                    kind = part.headers.get("Content-Type", "").partition(";")[0].strip()
                    kind = kind if _KIND.fullmatch(kind) else "application/octet-stream"
                    files.append(File(part.name, suffix[0] if suffix else "", kind, part_content))
        except (ValueError, RuntimeError, RuntimeWarning, AssertionError, LookupError, HttpProcessingError) as error:
            raise _malformed("It is not multipart/form-data") from error
    return fields, files


def _malformed(why: str) -> RequestRefused:
    return RequestRefused(400, "invalid_form", f"The form cannot be read. {why}.")
