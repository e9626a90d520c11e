# SPDX-License-Identifier: Apache-2.0
"""An OpenAI API on this machine, which buys from one provider and checks every answer.

| route | answer |
|---|---|
| POST /v1/... | that of the provider, checked |
| GET /v1/models | that of the provider |

An answer that is not streamed is checked before it is passed on. A stream is passed on as it arrives; if it cannot be
proven, the connection breaks before the stream ends. After an answer that was not proven, nothing more is bought.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from aiohttp import web

from serving_network.clients.bills.fetching import ProviderFailure, get_json
from serving_network.clients.buying.answers import KEY_HEADER, AnswerUnproven
from serving_network.clients.buying.funding import Funding, LimitReached
from serving_network.clients.buying.provider import SignerChanged
from serving_network.errors import ConfigurationError, ServingError
from serving_network.untrusted import reason_of

if TYPE_CHECKING:
    from serving_network.clients.buying.purchase import Buyer, Purchase
    from serving_network.messages.receipts import SignedReceipt

MAX_BODY: Final = 32 * 1024 * 1024
COST_HEADER: Final = "X-Serving-Cost"
_PASSED: Final = ("Content-Type", KEY_HEADER, "X-Serving-Output-Bound", "Retry-After")

_LOG = logging.getLogger("serving_network.connect")


class Endpoint:
    """Serves the requests that have `api_key`. `bought` is called with every receipt."""

    def __init__(self, buyer: Buyer, funding: Funding, api_key: str, bought: Callable[[SignedReceipt], None]) -> None:
        self._buyer = buyer
        self._funding = funding
        self._api_key = api_key
        self._bought = bought
        self._stopped: AnswerUnproven | None = None
        self._late: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[str]:
        """Listen while the block runs; yields the base URL. Raises ConfigurationError if the port is taken."""
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_get("/v1/models", self._models)
        application.router.add_post("/v1/{path:.+}", self._answer)
        runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise ConfigurationError(
                    f"Port {port} cannot be used.",
                    cause=f"{reason_of(error)}.",
                    next_step="Choose another one with --port.",
                ) from error
            yield f"http://{host}:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()
            await asyncio.gather(*self._late, return_exceptions=True)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        try:
            self._authenticate(request)
            offer = await self._buyer.offer()
            return web.json_response(await get_json(self._buyer.http, f"{offer.url}/v1/models"))
        except ServingError as error:
            return _refused(error)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            self._authenticate(request)
            if self._stopped is not None:
                raise self._stopped
            await self._funding.keep()
            return await self._buy(request, await request.read())
        except ServingError as error:
            self._note(error)
            return _refused(error)

    async def _buy(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Buy an answer. While funds lack, top up and ask again, until the limit is reached."""
        path, content_type = f"/{request.match_info['path']}", request.headers.get("Content-Type", "")
        while True:
            async with self._buyer.ask(path, body, content_type) as purchase:
                if purchase.status != 402:
                    return await self._deliver(request, purchase)
            await self._funding.add()

    async def _deliver(self, request: web.Request, purchase: Purchase) -> web.StreamResponse:
        headers = {name: purchase.headers[name] for name in _PASSED if name in purchase.headers}
        if purchase.status != 200:
            return web.Response(status=purchase.status, headers=headers, body=await purchase.body())
        if purchase.streams:
            return await self._stream(request, purchase, headers)
        body = await purchase.body()
        receipt = await self._prove(purchase)
        return web.Response(headers=headers | {COST_HEADER: str(receipt.receipt.fee)}, body=body)

    async def _stream(self, request: web.Request, purchase: Purchase, headers: Mapping[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        try:
            async for part in purchase.parts():
                await response.write(part)
            await self._prove(purchase)
        except (ConnectionError, asyncio.CancelledError):
            self._prove_later(purchase)
            raise
        except ServingError as error:
            self._note(error)
            if not isinstance(error, AnswerUnproven):
                self._prove_later(purchase)
            if request.transport is not None:
                request.transport.abort()  # without the end of the stream, the client sees that something is missing
            return response
        await response.write_eof()
        return response

    def _note(self, error: ServingError) -> None:
        _LOG.warning("%s %s", error, error.cause or "")
        if isinstance(error, AnswerUnproven):
            self._stopped = error

    async def _prove(self, purchase: Purchase) -> SignedReceipt:
        receipt = await purchase.prove()
        if excess := purchase.excess(receipt):
            _LOG.warning("%s", excess)
        self._bought(receipt)
        return receipt

    def _prove_later(self, purchase: Purchase) -> None:
        """Fetch the receipt of an answer that the client does not wait for."""

        async def prove() -> None:
            try:
                await self._prove(purchase)
            except ServingError as error:
                self._note(error)

        task = asyncio.create_task(prove())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _authenticate(self, request: web.Request) -> None:
        """Other programs and web pages on this machine can reach this port, and must not spend the user's coins."""
        given = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not compare_digest(given.encode(), self._api_key.encode()):
            raise NotAuthenticated(
                "The API key is not the one that serving connect printed.", next_step="Use the printed key."
            )


class NotAuthenticated(ServingError):
    """A request to the local endpoint has another API key."""

    exit_code = 4


_STATUS: Final[tuple[tuple[type[ServingError], int, str], ...]] = (
    (NotAuthenticated, 401, "invalid_api_key"),
    (LimitReached, 402, "limit_reached"),
    (AnswerUnproven, 502, "answer_unproven"),
    (SignerChanged, 503, "signer_changed"),
    (ProviderFailure, 502, "provider_failure"),
)


def _refused(error: ServingError) -> web.Response:
    """A failure in the form that OpenAI clients show. Their own retries would buy the same failure again."""
    status, code = next(((number, code) for kind, number, code in _STATUS if isinstance(error, kind)), (503, "failed"))
    text = " ".join(part for part in (error.message, error.cause, error.next_step) if part)
    content = {"error": {"message": text, "type": "serving_connect", "code": code, "param": None}}
    return web.json_response(content, status=status, headers={"x-should-retry": "false"})
