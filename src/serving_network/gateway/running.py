# SPDX-License-Identifier: Apache-2.0
"""Run a gateway: check what it needs, open its store, listen, and stop without losing a row."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import Offer
from serving_network.errors import ConfigurationError, NodeFailure
from serving_network.gateway.admission import Admission
from serving_network.gateway.application import Gateway, paid_routes
from serving_network.gateway.chain import ChainView
from serving_network.gateway.control import Operations, listening
from serving_network.gateway.readiness import GatewayNotReady, check_chain, check_offer, check_store
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.routes import Route
from serving_network.gateway.selling import Seller
from serving_network.gateway.settings import Settings
from serving_network.gateway.settler import SettlerProcess, kept_running
from serving_network.gateway.tls import Certificate, certificate_of
from serving_network.gateway.upstream import Upstream
from serving_network.gateway.usage import read_body
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.store.intake import Intake
from serving_network.store.sqlite import Identity

STOP_SECONDS: Final = 60.0


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
    store: Path,
    *,
    service: str = "inference",
    plain_http: bool = False,
    stop_seconds: float = STOP_SECONDS,
    settler: SettlerProcess | None = None,
) -> AsyncIterator[Running]:
    """Serve while the block runs. At the end, streams have `stop_seconds` to finish, and are cut and billed then.

    Raises GatewayNotReady, ConfigurationError, and the failures of store and chain.
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
    warnings = await check_chain(network, settings, service, time.time())
    identity = await _identity(network, settings.provider, service)
    async with AsyncExitStack() as held:
        upstream = Upstream(settings.upstream, settings.upstream_headers, longest=settings.request_seconds)
        await upstream.open()
        held.push_async_callback(upstream.close)
        await check_upstream(upstream, offer.service_type, settings.upstream_model or offer.model)
        intake = Intake(store, identity, signer)
        recovered = intake.open()
        held.callback(intake.close)
        await check_store(network, settings.provider, service, store)
        chain = ChainView(network, settings.provider, service, intake)
        admission = Admission(chain, intake, signer.address, settings.limits())
        terms = settings.terms(offer.model)
        seller = Seller(admission, intake, upstream, terms, settings.provider)
        operations = Operations(
            store,
            under_way=lambda: admission.under_way,
            reserved=lambda: admission.reserved,
            settler=lambda: None if settler is None else settler.runs,
        )
        gateway = Gateway(
            chain, intake, admission, seller, terms, offer.service_type, signer.address, operations, int(time.time())
        )
        runner = web.AppRunner(
            gateway.application(), handler_cancellation=True, access_log=None, shutdown_timeout=stop_seconds
        )
        await held.enter_async_context(listening(operations, settings.metrics_port))
        await held.enter_async_context(_background(chain.watch()))
        if settler is not None:
            await held.enter_async_context(kept_running(settler))
        held.push_async_callback(_stop, runner, seller)
        await runner.setup()
        await _listen(runner, settings, certificate)
        host, port = runner.addresses[0][:2]
        operations.url = f"{'http' if certificate is None else 'https'}://{host}:{port}"
        yield Running(operations.url, offer, confirmed, recovered, warnings, certificate)


async def _stop(runner: web.AppRunner, seller: Seller) -> None:
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


async def check_upstream(upstream: Upstream, service_type: str, model: str) -> None:
    """Check that the model server answers and reports what it used. Raises GatewayNotReady."""
    route, body = Route.CHAT, {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "model": model}
    if service_type == "embedding":
        route, body = Route.EMBEDDINGS, {"input": "Hi", "model": model}
    where = f"{upstream.url}{route.value}"
    try:
        async with upstream.post(route, json.dumps(body).encode()) as response:
            answer, status = await upstream.read(response), response.status
    except RequestRefused as error:
        raise GatewayNotReady(
            f"The model server does not answer at {where}.", next_step="Start it, or correct upstream in the settings."
        ) from error
    if status != 200:
        raise GatewayNotReady(
            f"The model server answered with status {status} at {where}.",
            cause=answer[:200].decode("utf-8", "replace"),
            next_step="Check upstream, upstream_model and upstream_headers in the settings.",
        )
    if read_body(route, answer) is None:
        raise GatewayNotReady(
            f"The model server at {where} does not report a usage.",
            cause="Without one, answers cannot be billed.",
            next_step="Use a model server that reports usage.",
        )


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
            f"This gateway does not serve services of type {service_type} yet.",
            next_step="Register a service of type chatbot or embedding.",
        )


async def _listen(runner: web.AppRunner, settings: Settings, certificate: Certificate | None) -> None:
    context = None if certificate is None else certificate.context
    try:
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=context).start()
    except OSError as error:
        raise ConfigurationError(
            f"The gateway cannot listen on {settings.host}:{settings.port}.",
            cause=str(error),
            next_step="Choose another port in the settings.",
        ) from error
