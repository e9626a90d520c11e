# SPDX-License-Identifier: Apache-2.0
"""Sell one request: reserve, forward, deliver, bill.

An answer that is not streamed is stored with its row before its first byte leaves, and can be fetched again for some
minutes; if the client leaves, the gateway reads on and bills it all the same. Of a stream, the first byte waits for the
row that it began, and the last packet for the row that it is billed. If the client or the model server cuts a stream,
what the client's socket accepted is billed.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
from aiohttp import web

from serving_network.gateway import requests
from serving_network.gateway.admission import Admission, Hold
from serving_network.gateway.metering import StreamMeter
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.requests import PaidRequest
from serving_network.gateway.routes import Route
from serving_network.gateway.upstream import Upstream, refusal_of
from serving_network.gateway.usage import Usage, read_body
from serving_network.messages.receipts import Ending, receipt_id
from serving_network.messages.session_tokens import SessionToken
from serving_network.store.intake import Delivered, Intake, Kept, Terms

if TYPE_CHECKING:
    from hashlib import _Hash

CHECKPOINT_SECONDS: Final = 1.0
KEY_HEADER: Final = "ZG-Res-Key"
BOUND_HEADER: Final = "X-Serving-Output-Bound"
"""Set if free money covers less output than was asked: how many tokens it covers."""

_ID = re.compile(rb'"id"\s*:\s*"([!-~]{1,128}?)"')
_ID_WITHIN: Final = 4096
_LAST = re.compile(rb'"finish_reason"\s*:\s*"|\[DONE\]')
_SEAM: Final = 32

T = TypeVar("T")


@dataclass(frozen=True)
class _Sale:
    """One admitted request."""

    key: str
    terms: Terms
    paid: PaidRequest
    hold: Hold

    @property
    def shrunk(self) -> bool:
        return self.hold.reservation.bounds.output < self.paid.bounds.output

    def delivered(self, answer_hash: bytes, length: int, usage: Usage | None) -> Delivered:
        """The part of the row that says what was delivered, and its price."""
        if usage is None:
            return Delivered(answer_hash, length)
        billed = self.hold.reservation.billed(usage)
        input_fee, output_fee = self.hold.tariff.fees(billed)
        return Delivered(
            answer_hash, length, billed.input, billed.cached, billed.output, input_fee, output_fee, billed.source
        )


class Seller:
    """Serves paid requests of admitted users."""

    def __init__(
        self,
        admission: Admission,
        intake: Intake,
        upstream: Upstream,
        terms: requests.Terms,
        provider: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._admission = admission
        self._intake = intake
        self._upstream = upstream
        self._terms = terms
        self._provider = provider
        self._clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stopping = False

    async def sell(self, request: web.Request, token: SessionToken, route: Route) -> web.StreamResponse:
        """Answer a paid request. Raises RequestRefused."""
        body = await _body(request, route)
        paid = requests.read_request(route, body, self._terms)
        hold = await self._admission.reserve(token.address, paid.bounds)
        prices = hold.tariff.prices
        key = str(uuid.uuid4())
        terms = Terms(
            receipt_id(key),
            token.address,
            token.token_id,
            self._terms.model,
            prices.input_price,
            prices.output_price,
            sha256(body).digest(),
        )
        sale = _Sale(key, terms, paid, hold)
        if paid.stream:
            return await self._stream(request, sale)
        return await self._background(self._whole(sale))

    async def close(self) -> None:
        """Wait until every row is stored."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _background(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that goes on if the client leaves."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for the task reports it; nobody does if the client is gone

    # ---------------------------------------------------------------------------------------- not streamed

    async def _whole(self, sale: _Sale) -> web.Response:
        try:
            async with self._upstream.post(sale.paid.route, self._upstream_body(sale)) as response:
                if response.status != 200:
                    return await self._refused(response)
                body = await self._upstream.read(response)
                content_type = response.headers.get("Content-Type", "application/json")
            return await self._bill_whole(sale, body, content_type)
        finally:
            sale.hold.release()

    async def _bill_whole(self, sale: _Sale, body: bytes, content_type: str) -> web.Response:
        usage = read_body(sale.paid.route, body)
        if usage is None:
            raise RequestRefused(502, "not_metered", "The model server did not report a usage, so nothing is billed.")
        await self._intake.finish(
            sale.terms,
            sale.delivered(sha256(body).digest(), len(body), usage),
            Ending.COMPLETE,
            int(self._clock()),
            upstream_id=_upstream_id(body),
            kept=Kept(content_type, body),
        )
        return web.Response(body=body, headers=self._headers(sale, content_type))

    # -------------------------------------------------------------------------------------------- streamed

    async def _stream(self, request: web.Request, sale: _Sale) -> web.StreamResponse:
        begun = asyncio.ensure_future(self._intake.begin(sale.terms, int(self._clock())))
        try:
            async with self._upstream.post(sale.paid.route, self._upstream_body(sale)) as upstream:
                await asyncio.shield(begun)
                if upstream.status != 200:
                    answer = await self._refused(upstream)
                    await self._background(self._abandon(sale, begun))
                    return answer
                content_type = upstream.headers.get("Content-Type", "")
                if content_type.startswith("text/event-stream"):
                    return await self._pass_on(request, upstream, sale, content_type)
                body = await self._upstream.read(upstream)
                return await self._background(self._bill_unstreamed(sale, body, content_type))
        except BaseException:
            if not sale.hold.released:
                await self._background(self._abandon(sale, begun))
            raise

    async def _bill_unstreamed(self, sale: _Sale, body: bytes, content_type: str) -> web.Response:
        """Bill an answer that the model server did not stream although it was asked to."""
        try:
            return await self._bill_whole(sale, body, content_type)
        except RequestRefused:
            await self._intake.abandon(sale.terms.id)
            raise
        finally:
            sale.hold.release()

    async def _pass_on(
        self, request: web.Request, upstream: aiohttp.ClientResponse, sale: _Sale, content_type: str
    ) -> web.StreamResponse:
        """Pass a stream on, and bill it however it ends."""
        stream = _Stream(sale, StreamMeter(sale.paid.route, remove_usage=not sale.paid.asks_usage))
        response = web.StreamResponse(headers=self._headers(sale, content_type))
        ending = Ending.COMPLETE
        failure: BaseException | None = None
        try:
            await response.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(high=0)
            await self._pump(request, response, upstream, stream)
        except (ConnectionResetError, asyncio.CancelledError) as gone:
            ending, failure = Ending.CUT_BY_STOP if self.stopping else Ending.CUT_BY_CLIENT, gone
        except _UpstreamCut as cut:
            ending, failure = Ending.CUT_BY_UPSTREAM, cut
        else:
            if not stream.meter.finished:
                ending = Ending.CUT_BY_UPSTREAM
        upstream.close()
        held = b"" if failure else stream.take_rest()
        await self._background(self._bill_stream(sale, stream, ending))
        if isinstance(failure, asyncio.CancelledError):
            raise failure
        if failure is not None:
            # Without the end of the chunked encoding, the client sees that the answer is cut.
            if request.transport is not None:
                request.transport.close()
            return response
        if held:
            await response.write(held)
        await response.write_eof()
        return response

    async def _pump(
        self, request: web.Request, response: web.StreamResponse, upstream: aiohttp.ClientResponse, stream: _Stream
    ) -> None:
        next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS
        while packet := await _next(upstream):
            for data in stream.feed(packet):
                await response.write(data)
                if request.transport is not None and request.transport.get_write_buffer_size():
                    await response.drain()
                stream.accepted(data)
            if time.monotonic() >= next_checkpoint:
                self._intake.checkpoint(stream.sale.terms.id, stream.delivered(), int(self._clock()))
                next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS

    async def _bill_stream(self, sale: _Sale, stream: _Stream, ending: Ending) -> None:
        try:
            await self._intake.finish(
                sale.terms, stream.delivered(), ending, int(self._clock()), upstream_id=stream.upstream_id
            )
        finally:
            sale.hold.release()

    async def _abandon(self, sale: _Sale, begun: asyncio.Future[None]) -> None:
        try:
            await begun
            await self._intake.abandon(sale.terms.id)
        finally:
            sale.hold.release()

    # ---------------------------------------------------------------------------------------------- shared

    def _upstream_body(self, sale: _Sale) -> bytes:
        return sale.paid.upstream_body(sale.hold.reservation.bounds.output)

    async def _refused(self, response: aiohttp.ClientResponse) -> web.Response:
        status, content_type, body = await refusal_of(self._upstream, response)
        headers = {"Content-Type": content_type}
        if "Retry-After" in response.headers:
            headers["Retry-After"] = response.headers["Retry-After"]
        return web.Response(status=status, body=body, headers=headers)

    def _headers(self, sale: _Sale, content_type: str) -> dict[str, str]:
        headers = {
            "Content-Type": content_type,
            KEY_HEADER: sale.key,
            "Provider": self._provider,
            "X-Accel-Buffering": "no",
        }
        if sale.shrunk:
            headers[BOUND_HEADER] = str(sale.hold.reservation.bounds.output)
        return headers


class _Stream:
    """What of a stream was sent and what is held back: its last packet, once its end is in sight."""

    def __init__(self, sale: _Sale, meter: StreamMeter) -> None:
        self.sale = sale
        self.meter = meter
        self.upstream_id: str | None = None
        self._hash: _Hash = sha256()
        self._length = 0
        self._held: bytes | None = None
        self._seam = b""

    def feed(self, packet: bytes) -> list[bytes]:
        """What to send now."""
        if self.upstream_id is None and not self._length:
            self.upstream_id = _upstream_id(packet)
        ready = []
        if self._held is None and _LAST.search(self._seam + packet):
            self._held = b""
        self._seam = packet[-_SEAM:]
        if self._held:
            ready.append(self._held)
        data = self.meter.feed(packet)
        if self._held is not None:
            self._held = data
        elif data:
            ready.append(data)
        return ready

    def accepted(self, data: bytes) -> None:
        """Count what the client's socket accepted."""
        self._hash.update(data)
        self._length += len(data)
        self.meter.received()

    def take_rest(self) -> bytes:
        """What is held back. It counts as delivered, since the row is stored before it is sent."""
        rest = (self._held or b"") + self.meter.finish()
        self.accepted(rest)
        return rest

    def delivered(self) -> Delivered:
        return self.sale.delivered(self._hash.digest(), self._length, self.meter.usage())


class _UpstreamCut(Exception):
    """The model server ended a stream in its middle."""


async def _next(upstream: aiohttp.ClientResponse) -> bytes:
    """The next packet of a stream, empty at its end."""
    try:
        return await upstream.content.readany()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _UpstreamCut from error


async def _body(request: web.Request, route: Route) -> bytes:
    """The body of a request. Raises RequestRefused with 413 or 415."""
    if route.is_multipart:
        raise RequestRefused(404, "unknown_route", "This gateway does not serve forms with files yet.")
    requests.check_headers(
        route,
        request.headers.get("Content-Type", ""),
        request.headers.get("Content-Encoding", ""),
        request.content_length,
    )
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        requests.check_size(requests.MAX_BODY + 1)
        raise


def _upstream_id(start: bytes) -> str | None:
    found = _ID.search(start[:_ID_WITHIN])
    return found[1].decode("ascii") if found else None
