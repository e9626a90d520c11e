# SPDX-License-Identifier: Apache-2.0
"""What answers the requests of a gateway: its routes, errors and CORS.

| route under /v1/proxy and /v1 | token | answer |
|---|---|---|
| POST to the routes of the service's type | paid | that of the model server |
| GET models, quote, healthz | none | what is sold; the TEE's report; whether the gateway runs |
| GET signature/ID | none for ZG-Res-Key | the signature of an answer |
| GET receipts, receipts/ID | yes | the user's receipts |
| GET receipts/ID/answer | yes | an answer that was not streamed, for ten minutes |
| GET logs, logs/COMPONENT/FILE | the provider's own | the logs of gateway and settler |
| GET user/ADDRESS/unsettledfee | the user's own | the exact sum that is served and not settled |
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web

from serving_network.errors import NodeFailure
from serving_network.gateway.admission import Admission, receipts_missing
from serving_network.gateway.attestation import Attestation
from serving_network.gateway.chain import ChainView
from serving_network.gateway.control import Operations
from serving_network.gateway.cors import KEY_HEADER, cors_headers
from serving_network.gateway.limits import Rate
from serving_network.gateway.provider_logs import ProviderLogs
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.requests import Terms
from serving_network.gateway.routes import ROUTES_OF, Route, find_route, normal_path
from serving_network.gateway.selling import Seller
from serving_network.gateway.tracing import TRACE, Tracing
from serving_network.messages.receipts import SignedReceipt, receipt_id
from serving_network.messages.session_tokens import SESSION_ID, InvalidToken, SessionToken
from serving_network.store.intake import Intake
from serving_network.store.opening import JournalFailure

SIGNATURE_SECONDS: Final = 24 * 3600
SIGNATURES_PER_MINUTE: Final = 120
"""For one address, without a token."""
OPEN_READS_PER_MINUTE: Final = 600
"""The same for the other routes that take no token."""
MAX_RECEIPTS: Final = 500

_LOG = logging.getLogger("serving_network.gateway")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_RECEIPT_ID = re.compile(r"0x[0-9a-f]{64}")
_USER: Final = web.RequestKey("user", str)
_WHY: Final = web.RequestKey("why", str)
_CLIENT_LEFT: Final = 499
_OPEN: Final = (["healthz"], ["models"], ["quote"])
_SENDS_MORE: Final = "Your address sends more than"
_UNPAID: Final = ("healthz", "models", "quote", "signature", "receipts", "user", "logs")

_Handler = Callable[[web.BaseRequest, str], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Gateway:
    """Everything that answers requests."""

    chain: ChainView
    intake: Intake
    admission: Admission
    seller: Seller
    terms: Terms
    service_type: str
    signer: str
    attestation: Attestation
    operations: Operations
    logs: ProviderLogs
    created: int
    clock: Callable[[], float] = time.time
    tracing: Tracing | None = None
    lookups: Rate = field(default_factory=lambda: Rate(SIGNATURES_PER_MINUTE))
    open_reads: Rate = field(default_factory=lambda: Rate(OPEN_READS_PER_MINUTE))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request. The server must cancel this if the client leaves."""
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=cors_headers(request))
        began, status, key = time.monotonic(), _CLIENT_LEFT, ""
        path = normal_path(request.raw_path)
        trace = None
        if self.tracing is not None:
            label = _label(request.method, path, self.service_type)[0]
            trace = request[TRACE] = self.tracing.begin(request.method, label)
        try:
            response = await self._checked(request, path)
            status, key = response.status, response.headers.get(KEY_HEADER, "")
            if not response.prepared:
                response.headers.update(cors_headers(request))
            return response
        finally:
            self._count(request, path, status, key, time.monotonic() - began)
            if trace is not None:
                trace.end(status, request.get(_WHY), request.get(_USER))

    def _count(self, request: web.BaseRequest, path: str, status: int, key: str, seconds: float) -> None:
        route, paid = _label(request.method, path, self.service_type)
        self.operations.metrics.answered(route, status, seconds, paid=paid)
        if _LOG.isEnabledFor(logging.INFO):
            facts = {"route": route, "status": status, "seconds": round(seconds, 3)}
            facts |= {"user": request[_USER]} if _USER in request else {}
            facts |= {"key": key} if key else {}
            facts |= {"why": request[_WHY]} if _WHY in request else {}
            _LOG.info("request", extra={"facts": facts})

    async def _checked(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        try:
            return await self._route(request, path)
        except RequestRefused as error:
            refusal = error
        except InvalidToken as error:
            refusal = RequestRefused(401, "invalid_token", error.message, next_step=error.next_step)
        except (NodeFailure, JournalFailure) as error:
            _LOG.error("%s %s", error, error.cause or "")
            refusal = RequestRefused(503, "unavailable", "The gateway cannot serve requests at the moment.")
        except Exception:  # noqa: BLE001 - the client gets an answer that it can show, the log the reason
            _LOG.exception("A request failed.")
            refusal = RequestRefused(500, "internal_error", "The gateway failed to serve this request.")
        self.operations.metrics.refused(refusal.code)
        request[_WHY] = refusal.code
        return _refused(refusal)

    async def _route(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        parts = path.split("/")[1:]
        if request.method == "GET" and parts in _OPEN:
            self.open_reads.count(_address(request), _SENDS_MORE)
        match request.method, parts:
            case "GET", ["healthz"]:
                return web.json_response({"status": "ok"})
            case "GET", ["models"]:
                return await self._models()
            case "GET", ["quote"]:
                return web.Response(body=await self.attestation.report(), content_type="text/plain")
            case "GET", ["logs"]:
                return self.logs.list(request.headers, request.query.get("component", "both"))
            case "GET", ["logs", component, name]:
                return self.logs.read(request.headers, component, unquote(name))
            case "GET", ["signature", name]:
                return await self._signature(request, name)
            case "GET", ["receipts"]:
                return await self._receipts(request)
            case "GET", ["receipts", name]:
                return await self._receipt(request, name)
            case "GET", ["receipts", name, "answer"]:
                return await self._kept(request, name)
            case "GET", ["user", address, "unsettledfee"]:
                return await self._unsettled(request, address)
        route = find_route(request.method, request.raw_path, self.service_type)
        token = await self.admission.admit(_paid_header(request, route))
        request[_USER] = token.address
        return await self.seller.sell(request, token, route)

    async def _models(self) -> web.Response:
        offer, confirmed = await self.chain.service()
        entry: dict[str, Any] = {
            "id": self.terms.model,
            "object": "model",
            "created": self.created,
            "owned_by": self.chain.provider,
            "type": self.service_type,
            "max_completion_tokens": self.terms.default_output_tokens,
            "pricing": {"prompt": str(offer.input_price), "completion": str(offer.output_price)},
            "verifiability": offer.verifiability,
            "tee_attested": self.attestation.genuine,
            "tee_signer": self.signer,
            "signer_confirmed": confirmed,
            "reads_on_after_cancel": self.terms.reads_on,
        }
        if self.terms.context is not None:
            entry["context_length"] = self.terms.context
        return web.json_response({"object": "list", "data": [entry]})

    async def _signature(self, request: web.BaseRequest, name: str) -> web.Response:
        now = int(self.clock())
        if _UUID.fullmatch(name):
            self.lookups.count(_address(request), _SENDS_MORE)
            found = self.intake.answer(sha256(name.encode("ascii")).digest(), now - SIGNATURE_SECONDS)
        else:
            # Ids of the model server can be guessed, and two answers can have the same one.
            token = await self.admission.authenticate(_header(request))
            id_ = self.intake.id_of(token.address, name)
            receipt = None if id_ is None else self.intake.receipt(id_)
            found = self.intake.answer(receipt.receipt.id, 0) if receipt and _sees(receipt, token) else None
        if found is None:
            raise RequestRefused(404, "unknown_answer", "There is no signature for this id.")
        return web.json_response(found.as_json())

    async def _receipts(self, request: web.BaseRequest) -> web.Response:
        token = await self.admission.authenticate(_header(request))
        after = _number(request, "after", 0, 2**63 - 1)
        limit = _number(request, "limit", MAX_RECEIPTS, MAX_RECEIPTS)
        if after > self.intake.last_sequence(token.address):
            if token.token_id == SESSION_ID and self.admission.stop(token.address):
                _LOG.error("The store lacks receipts of %s up to %d: serving gateway adopt", token.address, after)
            raise receipts_missing(self.chain.provider)
        found = self.intake.receipts(token.address, after, limit)
        return web.json_response({"receipts": [_shown(one, token) for one in found]})

    async def _receipt(self, request: web.BaseRequest, name: str) -> web.Response:
        receipt, token = await self._own_receipt(request, name)
        return web.json_response(_shown(receipt, token))

    async def _kept(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        receipt, token = await self._own_receipt(request, name)
        kept = self.intake.kept(receipt.receipt.id, int(self.clock()))
        if kept is None or not _sees(receipt, token):
            raise RequestRefused(404, "unknown_answer", "This answer is not kept.")
        return await self.seller.hand_out(request, kept, token.address)

    async def _own_receipt(self, request: web.BaseRequest, name: str) -> tuple[SignedReceipt, SessionToken]:
        token = await self.admission.authenticate(_header(request))
        id_ = bytes.fromhex(name[2:]) if _RECEIPT_ID.fullmatch(name) else None
        if _UUID.fullmatch(name):
            id_ = receipt_id(name)
        receipt = None if id_ is None else self.intake.receipt(id_)
        if receipt is None or receipt.receipt.user != token.address:
            raise RequestRefused(404, "unknown_receipt", "You have no receipt with this id.")
        return receipt, token

    async def _unsettled(self, request: web.BaseRequest, address: str) -> web.Response:
        token = await self.admission.authenticate(_header(request))
        if address.lower() != token.address.lower():
            raise RequestRefused(403, "not_yours", "The token is of another user.")
        return web.json_response(
            {"userAddress": token.address, "unsettledFee": str(self.intake.unsettled(token.address))}
        )


def paid_routes(service_type: str) -> list[str]:
    """The paths that are sold for a type of service."""
    return [f"/v1{route.value}" for route in ROUTES_OF.get(service_type, ())]


def _label(method: str, path: str, service_type: str) -> tuple[str, bool]:
    """The route of a request as metrics and logs name it, out of few, and whether it is paid."""
    if any(path == route.value for route in ROUTES_OF.get(service_type, ())):
        return path[1:], method == "POST"
    first = path.split("/")[1]
    return (first if first in _UNPAID else "other"), False


def _header(request: web.BaseRequest) -> str | None:
    return request.headers.get("Authorization")


def _paid_header(request: web.BaseRequest, route: Route) -> str | None:
    """The header with the token of a paid request. Clients of the messages route send it as an API key."""
    return _header(request) or (request.headers.get("X-Api-Key") if route is Route.MESSAGES else None)


def _address(request: web.BaseRequest) -> str:
    """The address of a client, of IPv6 the network of which one customer has all addresses.

    A proxy on this machine adds it to those that the client may have made up.
    """
    remote = request.remote or ""
    try:
        proxied = ip_address(remote).is_loopback
    except ValueError:
        proxied = False
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() if proxied else ""
    try:
        address = ip_address(forwarded or remote)
    except ValueError:
        return forwarded[:64] or remote
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Network((int(address) >> 64 << 64, 64)))


def _number(request: web.BaseRequest, name: str, default: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
        raise RequestRefused(400, "invalid_value", f"{name} is not a number from 0 to {most}.", param=name)
    return int(text)


def _sees(receipt: SignedReceipt, token: SessionToken) -> bool:
    """Whether a token sees a receipt in full: a session sees all of its user, a named key its own."""
    return token.token_id in (SESSION_ID, receipt.receipt.token_id)


def _shown(receipt: SignedReceipt, token: SessionToken) -> dict[str, Any]:
    content = receipt.as_json()
    if _sees(receipt, token):
        return content
    return {name: content[name] for name in ("id", "sequence", "inputFee", "outputFee")}


def _refused(refusal: RequestRefused) -> web.Response:
    headers = {"Content-Type": refusal.content_type}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    return web.Response(status=refusal.status, body=refusal.body(), headers=headers)
