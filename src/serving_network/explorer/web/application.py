# SPDX-License-Identifier: Apache-2.0
"""What answers the requests of browsers. Every request is a GET that changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Final

from aiohttp import web

from serving_network.errors import ServingError
from serving_network.explorer.web.headers import HEADERS, is_served
from serving_network.explorer.web.page import Missing, Moved, Page
from serving_network.explorer.web.rendering import Renderer
from serving_network.explorer.web.site import PageOf, Source
from serving_network.explorer.web.tables import as_csv, as_json, asked_order

AT_ONCE: Final = 4
"""Pages made at once, each in a thread with a connection of its own."""
_YEAR: Final = 365 * 86_400
_LONGEST_PATH: Final = 2_000
_IN_MEMORY: Final = 4 * 1024 * 1024
_CHUNK: Final = 65_536
_FORMATS: Final = {"csv": "text/csv; charset=utf-8", "json": "application/json"}

_LOG = logging.getLogger("serving_network.explorer")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Download:
    """A whole table in a file."""

    name: str
    format: str
    content: IO[bytes]


class Explorer:
    """Serves the pages of a source. `hosts` are the names under which this server may be reached, besides addresses."""

    def __init__(self, source: Source, hosts: frozenset[str] = frozenset()) -> None:
        self._source = source
        self._renderer = Renderer({address: name for name, address in source.addresses.items()})
        self._hosts = hosts
        self._turns = asyncio.Semaphore(AT_ONCE)

    def application(self) -> web.Application:
        """The server's application."""
        application = web.Application(middlewares=[self._guarded], client_max_size=1)
        application.router.add_get("/static/{version}/{name}", self._static)
        application.router.add_get("/live.json", self._live)
        for path, page in self._source.pages().items():
            application.router.add_get(path, self._handler(page))
        return application

    def _handler(self, page: PageOf) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            async with self._turns:
                parts, query = dict(request.match_info), dict(request.query)
                made = await asyncio.to_thread(self._made, page, request.path, parts, query)
            if isinstance(made, Moved):
                return web.Response(status=302, headers={"Location": made.path})
            if isinstance(made, Download):
                return await _sent(request, made)
            return _html(made)

        return handle

    def _made(
        self, page: PageOf, path: str, parts: Mapping[str, str], query: Mapping[str, str]
    ) -> str | Moved | Download:
        """A page, or the table of it that is asked for, from one state of the index. Raises Missing."""
        with self._source.view() as view:
            found = page(view, parts, query)
            if isinstance(found, Moved):
                return found
            if "format" in query:
                return _download(found, query)
            return self._renderer.page(found, self._source.site(view), path, query)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse other hosts, turn failures into pages, and say what browsers may do."""
        response: web.StreamResponse
        if not is_served(request.host, self._hosts):
            response = web.Response(status=421, text="This name is not served. To serve it, pass --name.\n")
        else:
            response = await self._checked(request, handler)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if len(request.raw_path) > _LONGEST_PATH:
                return await self._failed(414, "Address too long", "The address of this page is too long.")
            return await handler(request)
        except Missing as error:
            return await self._failed(404, "Not found", str(error))
        except web.HTTPNotFound:
            return await self._failed(404, "Not found", "There is no page at this address.")
        except web.HTTPMethodNotAllowed:
            return await self._failed(405, "Read only", "This explorer answers GET requests only.")
        except ServingError as error:
            return _unavailable(error)
        except Exception:  # noqa: BLE001 - the reader gets a page, the log the reason
            _LOG.exception("A page failed.")
            return await self._failed(500, "This page failed", "The terminal of serving explore shows why.")

    async def _failed(self, status: int, title: str, message: str) -> web.Response:
        def rendered() -> str:
            with self._source.view() as view:
                return self._renderer.missing(self._source.site(view), status, title, message)

        try:
            return _html(await asyncio.to_thread(rendered), status)
        except ServingError as error:
            return _unavailable(error)

    async def _live(self, _: web.Request) -> web.Response:
        def head() -> str:
            with self._source.view() as view:
                return self._source.site(view).head_key

        return web.json_response({"head": await asyncio.to_thread(head)}, headers={"Cache-Control": "no-store"})

    async def _static(self, request: web.Request) -> web.Response:
        found = self._renderer.static.get(request.match_info["name"])
        if found is None or found.version != request.match_info["version"]:
            raise Missing("There is no such file.")
        headers = {"Content-Type": found.content_type, "Cache-Control": f"public, max-age={_YEAR}, immutable"}
        response = web.Response(body=found.content, headers=headers)
        response.enable_compression()
        return response


def _download(page: Page, query: Mapping[str, str]) -> Download:
    table = next((one for one in page.tables if one.id == query.get("table")), None)
    if table is None or query["format"] not in _FORMATS:
        raise Missing("This page has no such table, or the format is neither csv nor json.")
    content = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed when it is sent
    for part in (as_csv if query["format"] == "csv" else as_json)(table, asked_order(table, query)):
        content.write(part)
    content.seek(0)
    return Download(table.id, query["format"], content)


async def _sent(request: web.Request, download: Download) -> web.StreamResponse:
    headers = HEADERS | {"Content-Type": _FORMATS[download.format], "Cache-Control": "no-store"}
    if download.format == "csv":
        headers["Content-Disposition"] = f'attachment; filename="{download.name}.csv"'
    response = web.StreamResponse(headers=headers)
    response.enable_compression()
    await response.prepare(request)
    with download.content as content:
        while chunk := await asyncio.to_thread(content.read, _CHUNK):
            await response.write(chunk)
    await response.write_eof()
    return response


def _html(text: str, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-cache, private"}
    response = web.Response(status=status, text=text, content_type="text/html", headers=headers)
    response.enable_compression()
    return response


def _unavailable(error: ServingError) -> web.Response:
    _LOG.error("%s %s", error.message, error.cause or "")
    return web.Response(status=503, text=f"{error.message} {error.next_step or ''}\n", headers={"Retry-After": "5"})
