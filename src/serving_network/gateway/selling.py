# SPDX-License-Identifier: Apache-2.0
"""Sell one request: reserve, forward, deliver, bill.

An answer that is not streamed is stored with its row before its first byte leaves, and can be fetched again for some
minutes; if the client leaves, the gateway reads on and bills it all the same. Of a stream, the first byte waits for the
row that it began, and the last packet for the row that it is billed. If the client or the model server cuts a stream,
what the client's socket accepted is billed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeVar

from aiohttp import web

from serving_network.gateway import requests
from serving_network.gateway.admission import Admission, Hold
from serving_network.gateway.bodies import Bodies
from serving_network.gateway.cors import BOUND_HEADER, KEY_HEADER, cors_headers
from serving_network.gateway.delivery import Delivery, Sent, upstream_id
from serving_network.gateway.memory import Memory, Share
from serving_network.gateway.metering import StreamMeter
from serving_network.gateway.pool import Pool
from serving_network.gateway.reading_on import read_on
from serving_network.gateway.recounting import count_body, count_stream, texts_of
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.requests import MAX_IMAGES, PaidForm, PaidRequest
from serving_network.gateway.routes import Route
from serving_network.gateway.tracing import TRACE, Trace, committing
from serving_network.gateway.upstream import Answer, Payload, Upstream, UpstreamCut
from serving_network.gateway.usage import read_body
from serving_network.messages.answer_signatures import image_hashes
from serving_network.messages.receipts import Ending, receipt_id
from serving_network.messages.session_tokens import SessionToken
from serving_network.store.billing import Delivered, Kept, Terms
from serving_network.store.intake import CHECKPOINT_WAIT, Intake
from serving_network.store.opening import JournalFailure
from serving_network.tokenizing.tokenizer import Tokenizer

CHECKPOINT_SECONDS: Final = 1.0 - CHECKPOINT_WAIT
CLIENT_SECONDS: Final = 60.0
"""A client that accepts nothing for so long has left."""
PART: Final = 2**16
"""A longer answer is sent in parts of this size."""
END_SECONDS: Final = 1.0
"""How long the model server may take to end a stream after its [DONE]."""
STREAM_MEMORY: Final = 2**19
"""What the buffers of a stream take of the memory budget."""
_IMAGES: Final = (Route.IMAGES, Route.IMAGE_EDITS)

_LOG = logging.getLogger("serving_network.gateway")

T = TypeVar("T")


@dataclass
class _Sale:
    """One admitted request, with what it holds of the user's money and of the memory.

    `task` is the work that goes on if the client leaves. Once `billing` has begun, it goes on and releases the
    reservation.
    """

    key: str
    terms: Terms
    paid: PaidRequest | PaidForm
    hold: Hold
    share: Share
    trace: Trace | None = None
    billing: bool = False
    task: asyncio.Task[Any] | None = None

    @property
    def shrunk(self) -> bool:
        return self.hold.reservation.bounds.output < self.paid.bounds.output

    def payload(self, upstream: Upstream) -> Payload:
        """The body for a model server."""
        return self.paid.payload(
            self.hold.reservation.bounds.output, upstream.settings.model, continuous_usage=upstream.continuous_usage
        )

    def asks(self) -> None:
        if self.trace is not None:
            self.trace.asks(self.terms.model)

    def answered(self) -> None:
        if self.trace is not None:
            self.trace.answered()

    def delivered(self, sent: Sent, images: tuple[bytes, ...] = ()) -> Delivered:
        """The part of the row that says what was delivered, and its price."""
        if sent.usage is None:
            return Delivered(sent.hash, sent.length)
        billed = self.hold.reservation.billed(sent.usage)
        input_fee, output_fee = self.hold.tariff.fees(billed)
        return Delivered(
            sent.hash,
            sent.length,
            billed.input,
            billed.cached,
            billed.output,
            input_fee,
            output_fee,
            billed.source,
            images,
        )


class Seller:
    """Serves paid requests of admitted users."""

    def __init__(
        self,
        admission: Admission,
        intake: Intake,
        pool: Pool,
        memory: Memory,
        terms: requests.Terms,
        provider: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._admission = admission
        self._intake = intake
        self._pool = pool
        self._memory = memory
        self._bodies = Bodies(terms)
        self._model = terms.model
        self._reads_on = terms.reads_on
        self._provider = provider
        self._clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stopping = False

    async def sell(self, request: web.BaseRequest, token: SessionToken, route: Route) -> web.StreamResponse:
        """Answer a paid request. Raises RequestRefused."""
        hold = self._admission.enter(token)
        share = self._memory.share(token.address)
        sale: _Sale | None = None
        try:
            sale = await self._admit(request, hold, route, share)
            return await (self._stream(request, sale) if sale.paid.stream else self._whole(request, sale))
        finally:
            if sale is None:
                hold.release()
            if sale is None or sale.task is None or sale.task.done():
                share.free()
            else:
                sale.task.add_done_callback(lambda _: share.free())

    async def hand_out(self, request: web.BaseRequest, kept: Kept, user: str) -> web.StreamResponse:
        """Answer with what was kept for a user. Raises RequestRefused if there is no memory for it."""
        share = self._memory.share(user)
        try:
            share.grow(len(kept.body))
            return await _deliver(request, kept.body, {"Content-Type": kept.content_type})
        finally:
            share.free()

    async def close(self) -> None:
        """Wait until every row is stored."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._bodies.close()

    async def _admit(self, request: web.BaseRequest, hold: Hold, route: Route, share: Share) -> _Sale:
        """Read a request, and reserve what it can cost."""
        token = hold.token
        body, paid = await self._bodies.read(request, route, share)
        share.grow(paid.size)
        await self._admission.reserve(hold, paid.bounds)
        prices = hold.tariff.prices
        key = str(uuid.uuid4())
        terms = Terms(
            receipt_id(key),
            token.address,
            token.token_id,
            self._model,
            prices.input_price,
            prices.output_price,
            sha256(body).digest(),
            hold.reservation.wei,
            hold.session,
        )
        return _Sale(key, terms, paid, hold, share, request.get(TRACE))

    async def _background(self, sale: _Sale, work: Coroutine[Any, Any, T]) -> T:
        """Do work that goes on if the client leaves."""
        task = sale.task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        failure = None if task.cancelled() else task.exception()
        if isinstance(failure, JournalFailure):
            # The client may be gone, so nobody else reports it. A restart bills what began by its last checkpoint.
            _LOG.error("An answer is not billed. %s %s", failure, failure.cause or "")

    # ---------------------------------------------------------------------------------------- not streamed

    async def _whole(self, request: web.BaseRequest, sale: _Sale) -> web.StreamResponse:
        try:
            answer = await self._background(sale, self._bought(sale))
        except asyncio.CancelledError:
            self._admission.departures.count(sale.terms.user)
            raise
        return await _deliver(request, answer.body, self._headers(sale, answer.content_type))

    async def _bought(self, sale: _Sale) -> Kept:
        """The whole answer, billed."""
        try:
            sale.asks()
            async with self._pool.ask(sale.paid.route, sale.payload, sale.share, stream=False) as answer:
                sale.answered()
                return await self._bill_whole(sale, answer)
        finally:
            sale.hold.release()

    async def _bill_whole(self, sale: _Sale, answer: Answer) -> Kept:
        body = answer.body or b""
        usage = read_body(sale.paid.route, body) or await count_body(sale.paid, body, answer.tokenizer)
        if usage is None:
            raise RequestRefused(502, "not_metered", "The model server did not report a usage, so nothing is billed.")
        kept = Kept(answer.content_type, body)
        images = tuple(image_hashes(body)) if sale.paid.route in _IMAGES and usage.output <= MAX_IMAGES else ()
        await self._finish(
            sale,
            sale.delivered(Sent(sha256(body).digest(), len(body), usage), images),
            Ending.COMPLETE,
            upstream_id(body),
            kept,
        )
        return kept

    async def _finish(
        self, sale: _Sale, delivered: Delivered, ending: Ending, upstream_id: str | None, kept: Kept | None = None
    ) -> None:
        """Store the row."""
        if sale.trace is not None:
            sale.trace.billed(delivered.input_tokens, delivered.output_tokens)
        with committing(sale.trace):
            await self._intake.finish(
                sale.terms,
                delivered,
                ending,
                int(self._clock()),
                upstream_id=upstream_id,
                kept=kept,
                begun=sale.paid.stream,
            )

    # -------------------------------------------------------------------------------------------- streamed

    async def _stream(self, request: web.BaseRequest, sale: _Sale) -> web.StreamResponse:
        begun = asyncio.ensure_future(self._intake.begin(sale.terms, int(self._clock())))
        try:
            sale.share.grow(STREAM_MEMORY)
            sale.asks()
            async with self._pool.ask(sale.paid.route, sale.payload, sale.share, stream=True) as answer:
                sale.answered()
                await asyncio.shield(begun)
                if answer.body is None:
                    return await self._pass_on(request, answer, sale)
                whole = await self._bill(sale, self._bill_unstreamed(sale, answer))
        except BaseException:
            if not sale.billing:
                await self._background(sale, self._abandon(sale, begun))
            raise
        return await _deliver(request, whole.body, self._headers(sale, whole.content_type))

    async def _bill_unstreamed(self, sale: _Sale, answer: Answer) -> Kept:
        """Bill an answer that the model server did not stream although it was asked to."""
        try:
            return await self._bill_whole(sale, answer)
        except RequestRefused:
            await self._intake.abandon(sale.terms.id)
            raise
        finally:
            sale.hold.release()

    async def _pass_on(self, request: web.BaseRequest, answer: Answer, sale: _Sale) -> web.StreamResponse:
        """Pass a stream on, and bill it however it ends."""
        paid = sale.paid
        cut_usage = answer.continuous_usage and not paid.asks_continuous_usage
        tokenizer = None if answer.continuous_usage else answer.tokenizer
        texts = None if tokenizer is None else texts_of(paid.route, tokenizer)
        meter = StreamMeter(paid.route, remove_usage=not paid.asks_usage, cut_usage=cut_usage, texts=texts)
        delivery = Delivery(paid.route, meter)
        response = web.StreamResponse(headers=self._headers(sale, answer.content_type) | cors_headers(request))
        ending = Ending.COMPLETE
        failure: BaseException | None = None
        try:
            await response.prepare(request)
            await self._pump(request, response, answer, sale, delivery)
        except (ConnectionError, TimeoutError, asyncio.CancelledError) as gone:
            ending, failure = Ending.CUT_BY_STOP if self.stopping else Ending.CUT_BY_CLIENT, gone
        except UpstreamCut as cut:
            ending, failure = Ending.CUT_BY_UPSTREAM, cut
        except Exception as error:  # noqa: BLE001 - what was delivered is billed, whatever failed
            _LOG.exception("A stream failed.")
            ending, failure = Ending.CUT_BY_UPSTREAM, error
        else:
            if not meter.finished:
                ending = Ending.CUT_BY_UPSTREAM
        reads_on = self._reads_on and ending is Ending.CUT_BY_CLIENT and tokenizer is None
        if not reads_on:
            answer.close()
        held = b"" if failure else delivery.take_rest()
        left = answer if reads_on else None
        await self._bill(sale, self._bill_stream(sale, delivery, ending, tokenizer, left))
        if isinstance(failure, asyncio.CancelledError):
            raise failure
        if failure is None:
            failure = await _finish(response, held)
        if failure is not None:
            _cut(request, failure)
        return response

    async def _pump(
        self, request: web.BaseRequest, response: web.StreamResponse, answer: Answer, sale: _Sale, delivery: Delivery
    ) -> None:
        next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS
        client = _Client(request, response)
        while packet := await (_rest(answer) if delivery.is_done else answer.packet()):
            for data in delivery.feed(packet):
                await client.send(data)
                delivery.accepted(data)
            if time.monotonic() >= next_checkpoint:
                self._intake.checkpoint(sale.terms.id, sale.delivered(delivery.sent()), int(self._clock()))
                next_checkpoint = time.monotonic() + CHECKPOINT_SECONDS

    async def _bill(self, sale: _Sale, work: Coroutine[Any, Any, T]) -> T:
        sale.billing = True
        return await self._background(sale, work)

    async def _bill_stream(
        self, sale: _Sale, delivery: Delivery, ending: Ending, tokenizer: Tokenizer | None, left: Answer | None
    ) -> None:
        """Bill a stream. One that its client has `left` is read on for a moment."""
        try:
            sent, cut = delivery.sent(), ending is not Ending.COMPLETE
            if left is not None:
                sent = sent._replace(usage=await read_on(left, delivery.meter))
                left.close()
            usage = await count_stream(sale.paid, delivery.meter, sent.usage, tokenizer, cut=cut)
            await self._finish(sale, sale.delivered(sent._replace(usage=usage)), ending, delivery.upstream_id)
        finally:
            sale.hold.release()

    async def _abandon(self, sale: _Sale, begun: asyncio.Future[None]) -> None:
        try:
            await begun
            await self._intake.abandon(sale.terms.id)
        finally:
            sale.hold.release()

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


class _Client:
    """Sends to a client until its socket has accepted everything, or accepts nothing for CLIENT_SECONDS.

    After the first bytes it writes to the socket itself, which costs half as much for a packet.
    """

    def __init__(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        self._transport = request.transport
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)
        self._response = response
        self._writer = request.writer
        self._chunked = "Transfer-Encoding" in response.headers
        self._begun = False

    async def send(self, data: bytes) -> None:
        """Send bytes. Raises TimeoutError, and ConnectionError if the client has left."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("The client has left.")
        if not self._begun:  # the headers wait for the first bytes
            self._begun = True
            async with asyncio.timeout(CLIENT_SECONDS):
                await self._response.write(data)
        elif self._chunked:
            self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._transport.write(data)
        if self._transport.get_write_buffer_size():
            async with asyncio.timeout(CLIENT_SECONDS):
                await self._writer.drain()


async def _rest(answer: Answer) -> bytes:
    """The next packet after [DONE], empty if the model server does not end the stream soon."""
    try:
        async with asyncio.timeout(END_SECONDS):
            return await answer.packet()
    except TimeoutError:
        return b""


async def _finish(response: web.StreamResponse, held: bytes) -> BaseException | None:
    """Send what was held back. Its row is stored, so a client that has left changes nothing."""
    try:
        async with asyncio.timeout(CLIENT_SECONDS):
            if held:
                await response.write(held)
            await response.write_eof()
    except (ConnectionError, TimeoutError) as gone:
        return gone
    return None


async def _deliver(request: web.BaseRequest, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """Send a whole answer: a long one in parts, so that it is in memory, and in the budget, while the client reads."""
    if len(body) <= PART:
        return web.Response(body=body, headers=headers)
    response = web.StreamResponse(headers=headers | cors_headers(request) | {"Content-Length": str(len(body))})
    try:
        await response.prepare(request)
        client = _Client(request, response)
        for start in range(0, len(body), PART):
            await client.send(body[start : start + PART])
        await response.write_eof()
    except (ConnectionError, TimeoutError) as gone:
        _cut(request, gone)
    return response


def _cut(request: web.BaseRequest, failure: BaseException) -> None:
    """Close the connection. Without the end of the answer, the client sees that it is cut."""
    if request.transport is None:
        return
    if isinstance(failure, TimeoutError):
        request.transport.abort()
    else:
        request.transport.close()
