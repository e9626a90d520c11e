# SPDX-License-Identifier: Apache-2.0
"""Run a gateway: check what it needs, open its store, listen, and stop without losing a row."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import Offer
from serving_network.errors import ConfigurationError, NodeFailure
from serving_network.gateway.admission import Admission
from serving_network.gateway.application import Gateway, paid_routes
from serving_network.gateway.attestation import Attestation, ReportSource
from serving_network.gateway.chain import ChainView
from serving_network.gateway.control import Operations, listening
from serving_network.gateway.memory import Memory
from serving_network.gateway.pool import Pool
from serving_network.gateway.probes import probe, reports_continuously
from serving_network.gateway.provider_logs import ProviderLogs
from serving_network.gateway.readiness import GatewayNotReady, check_chain, check_offer, check_store
from serving_network.gateway.routes import ROUTES_OF, Route
from serving_network.gateway.selling import Seller
from serving_network.gateway.settings import Settings
from serving_network.gateway.settler import SettlerProcess, kept_running
from serving_network.gateway.tls import Certificate, certificate_of
from serving_network.gateway.tracing import Tracing
from serving_network.gateway.upstream import Upstream, UpstreamRefused
from serving_network.gateway.usage import read_body
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.store.intake import Intake
from serving_network.store.location import Location
from serving_network.store.opening import Identity
from serving_network.untrusted import reason_of

STOP_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 75.0
"""A connection is closed if the headers of a request have not arrived by then."""
BACKLOG: Final = 1024
"""Connections that wait until they are accepted. A client beyond that tries again after a second, then after longer."""

_LOG = logging.getLogger("serving_network.gateway")
_PROTOCOL_LOG = logging.getLogger("serving_network.gateway.http")


def _is_a_fault_of_ours(record: logging.LogRecord) -> bool:
    """Requests that are not HTTP would fill the log, and aiohttp's record of one quotes it, a token included."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_PROTOCOL_LOG.addFilter(_is_a_fault_of_ours)


class UpstreamUnavailable(GatewayNotReady):
    """A model server does not serve requests."""


@dataclass(frozen=True)
class Running:
    """A gateway that listens. `recovered` requests were cut by an earlier crash, and are billed."""

    url: str
    offer: Offer
    confirmed: bool
    recovered: int
    warnings: list[str]
    certificate: Certificate | None


@asynccontextmanager
async def running(
    settings: Settings,
    network: AsyncNetwork,
    signer: AttestedSigner,
    store: Location,
    *,
    service: str = "inference",
    plain_http: bool = False,
    stop_seconds: float = STOP_SECONDS,
    settler: SettlerProcess | None = None,
    quote: ReportSource | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Running]:
    """Serve while the block runs. At the end, streams have `stop_seconds` to finish, and are cut and billed then.

    `quote` asks the TEE for its report; without it, the report is a mock.

    Raises GatewayNotReady, ConfigurationError, and the failures of store, chain and TEE.
    """
    certificate = certificate_of(settings, plain_http=plain_http)
    offer, confirmed = await registered_offer(network, settings.provider, service)
    check_offer(offer, settings.service, confirmed=confirmed)
    if offer.tee_signer != signer.address:
        raise GatewayNotReady(
            f"The TEE key belongs to {signer.address}, but the service's signer is {offer.tee_signer}.",
            next_step=f"Use the key of the service's signer, or: serving service update --set"
            f" tee_signer={signer.address}",
        )
    attestation = Attestation(signer.address, quote)
    warnings = await attestation.check()
    warnings += await check_chain(network, settings, service, time.time())
    identity = await _identity(network, settings.provider, service)
    async with AsyncExitStack() as held:
        pool = Pool(settings.servers(), longest=settings.request_seconds)
        await pool.open()
        held.push_async_callback(pool.close)
        await check_pool(pool, offer)
        intake = Intake(store, identity, signer)
        recovered = intake.open()
        held.callback(intake.close)
        await check_store(network, settings.provider, service, store)
        chain = ChainView(network, settings.provider, service, intake)
        admission = Admission(chain, intake, signer.address, settings.limits())
        terms = settings.terms(offer.model)
        seller = Seller(admission, intake, pool, Memory(settings.limits().memory), terms, settings.provider)
        operations = Operations(
            store,
            admission,
            health=pool.health,
            settler=lambda: None if settler is None else settler.runs,
        )
        gateway = Gateway(
            chain,
            intake,
            admission,
            seller,
            terms,
            offer.service_type,
            signer.address,
            attestation,
            operations,
            ProviderLogs(settings.provider, None if settings.log_file is None else Path(settings.log_file)),
            int(time.time()),
            tracing=tracing,
        )
        server = web.Server(
            gateway.answer,
            handler_cancellation=True,
            access_log=None,
            logger=_PROTOCOL_LOG,
            keepalive_timeout=IDLE_SECONDS,
        )
        runner = web.ServerRunner(server, shutdown_timeout=stop_seconds)
        await held.enter_async_context(listening(operations, settings.metrics_port))
        await held.enter_async_context(_background(chain.watch()))
        await held.enter_async_context(_background(chain.read_ahead()))
        await held.enter_async_context(_background(intake.keep()))
        if settler is not None:
            await held.enter_async_context(kept_running(settler))
        held.push_async_callback(_stop, runner, seller)
        await runner.setup()
        await _listen(runner, settings, certificate)
        host, port = runner.addresses[0][:2]
        operations.url = f"{'http' if certificate is None else 'https'}://{host}:{port}"
        yield Running(operations.url, offer, confirmed, recovered, warnings, certificate)


async def _stop(runner: web.ServerRunner, seller: Seller) -> None:
    seller.stopping = True
    await runner.cleanup()
    await seller.close()


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _identity(network: AsyncNetwork, provider: str, service: str) -> Identity:
    genesis = await network.chain.block_hash(0)
    if genesis is None:
        raise NodeFailure("The node did not return the first block.")
    return Identity(network.chain.chain_id, genesis, (await network.service(service)).address, provider)


async def check_pool(pool: Pool, offer: Offer) -> None:
    """Check that one model server answers, and that all that answer report what they used. Raises GatewayNotReady."""
    failures: list[GatewayNotReady] = []
    for upstream in pool.upstreams:
        try:
            await check_upstream(upstream, offer)
            if upstream.settings.continuous_usage is None and offer.service_type == "chatbot":
                upstream.continuous_usage = await reports_continuously(upstream, upstream.settings.model or offer.model)
        except UpstreamUnavailable as failure:
            _LOG.warning("%s %s", failure, failure.cause or "")
            failures.append(failure)
    if len(failures) == len(pool.upstreams):
        raise failures[0]


async def check_upstream(upstream: Upstream, offer: Offer) -> None:
    """Check that a model server answers and reports what it used. Raises GatewayNotReady."""
    request = probe(offer.service_type, upstream.settings.model or offer.model)
    if request is None:
        return
    route, payload = request
    where = f"{upstream.url}{route.value}"
    try:
        answer = await upstream.ask(route, payload, Memory().share(), stream=False)
    except UpstreamRefused as error:
        raise UpstreamUnavailable(
            f"The model server at {where} does not serve requests.",
            cause=f"{error.message} {error.passed_on[:200].decode('utf-8', 'replace')}".strip(),
            next_step=f"Start it, or correct its URL, model and headers.{_usual_path(upstream.url)}",
        ) from error
    answer.close()
    counted = upstream.tokenizer is not None and route is not Route.TRANSCRIPTIONS
    if not counted and read_body(route, answer.body or b"") is None:
        raise GatewayNotReady(
            f"The model server at {where} does not report a usage.",
            cause="Without one, answers cannot be billed.",
            next_step="Use a model server that reports usage, or name the model's tokenizer.json as tokenizer in the"
            " settings.",
        )


def _usual_path(url: str) -> str:
    return "" if url.endswith("/v1") else f" Its URL usually ends with /v1: {url}/v1"


async def registered_offer(network: AsyncNetwork, provider: str, service: str) -> tuple[Offer, bool]:
    """The provider's offer, and whether its signer is confirmed. Raises GatewayNotReady if it cannot be served."""
    found = await network.offer(provider, service)
    if found is None or not isinstance(found.offer, Offer):
        raise GatewayNotReady(f"{provider} has no registered service.", next_step="Register it: serving gateway init")
    served_type(found.offer.service_type)
    return found.offer, found.confirmed


def served_type(service_type: str) -> None:
    """Check that this gateway serves a type of service. Raises GatewayNotReady."""
    if not paid_routes(service_type):
        raise GatewayNotReady(
            f"This gateway does not serve services of type {service_type}.",
            next_step=f"Register a service of one of the types {', '.join(ROUTES_OF)}.",
        )


async def _listen(runner: web.ServerRunner, settings: Settings, certificate: Certificate | None) -> None:
    context = None if certificate is None else certificate.context
    try:
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=context, backlog=BACKLOG).start()
    except OSError as error:
        raise ConfigurationError(
            f"The gateway cannot listen on {settings.host}:{settings.port}.",
            cause=f"{reason_of(error)}.",
            next_step="Choose another port in the settings.",
        ) from error
