# SPDX-License-Identifier: Apache-2.0
"""Run a gateway: check what it needs, open its store, listen, and stop without losing a row."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from aiohttp import web

from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import Offer
from serving_network.errors import ConfigurationError, NodeFailure, ServingError
from serving_network.gateway.admission import Admission
from serving_network.gateway.application import Gateway, paid_routes
from serving_network.gateway.chain import ChainView
from serving_network.gateway.memory import Memory
from serving_network.gateway.pool import Pool
from serving_network.gateway.probes import probe, reports_continuously
from serving_network.gateway.routes import ROUTES_OF
from serving_network.gateway.selling import Seller
from serving_network.gateway.settings import Settings
from serving_network.gateway.upstream import Upstream, UpstreamRefused
from serving_network.gateway.usage import read_body
from serving_network.messages.tee_signing import AttestedSigner
from serving_network.store.intake import Intake
from serving_network.store.sqlite import Identity

STOP_SECONDS: Final = 60.0

_LOG = logging.getLogger("serving_network.gateway")


class GatewayNotReady(ServingError):
    """The gateway cannot sell anything as it is set up."""

    exit_code = 9


class UpstreamUnavailable(GatewayNotReady):
    """A model server does not serve requests."""


@dataclass(frozen=True)
class Running:
    """A gateway that listens. `recovered` requests were cut by an earlier crash, and are billed."""

    url: str
    offer: Offer
    confirmed: bool
    recovered: int


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
) -> AsyncIterator[Running]:
    """Serve while the block runs. At the end, streams have `stop_seconds` to finish, and are cut and billed then.

    Raises GatewayNotReady, ConfigurationError, and the failures of store and chain.
    """
    _check_host(settings, plain_http)
    offer, confirmed = await registered_offer(network, settings.provider, service)
    if offer.tee_signer != signer.address:
        raise GatewayNotReady(
            f"The TEE key belongs to {signer.address}, but the service's signer is {offer.tee_signer}.",
            next_step="Use the key of the service's signer, or update the service.",
        )
    contract = (await network.service(service)).address
    genesis = await network.chain.rpc("eth_getBlockByNumber", ["0x0", False])
    if not isinstance(genesis, dict) or not isinstance(genesis.get("hash"), str):
        raise NodeFailure("The node did not return the first block.")
    identity = Identity(network.chain.chain_id, genesis["hash"], contract, settings.provider)
    pool = Pool(settings.servers())
    await pool.open()
    try:
        await check_pool(pool, offer)
        intake = Intake(store, identity, signer)
        recovered = intake.open()
        try:
            chain = ChainView(network, settings.provider, service, intake)
            admission = Admission(chain, intake, signer.address, settings.limits())
            terms = settings.terms(offer.model)
            seller = Seller(admission, intake, pool, Memory(settings.limits().memory), terms, settings.provider)
            gateway = Gateway(
                chain, intake, admission, seller, terms, offer.service_type, signer.address, int(time.time())
            )
            runner = web.AppRunner(
                gateway.application(), handler_cancellation=True, access_log=None, shutdown_timeout=stop_seconds
            )
            try:
                await runner.setup()
                await _listen(runner, settings)
                host, port = runner.addresses[0][:2]
                yield Running(f"http://{host}:{port}", offer, confirmed, recovered)
            finally:
                seller.stopping = True
                await runner.cleanup()
                await seller.close()
        finally:
            intake.close()
    finally:
        await pool.close()


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
            cause=f"{error.message} {error.body()[:200].decode('utf-8', 'replace')}",
            next_step="Start it, or correct its URL, model and headers in the settings.",
        ) from error
    answer.close()
    if read_body(route, answer.body or b"") is None:
        raise GatewayNotReady(
            f"The model server at {where} does not report a usage.",
            cause="Without one, answers cannot be billed.",
            next_step="Use a model server that reports usage.",
        )


async def registered_offer(network: AsyncNetwork, provider: str, service: str) -> tuple[Offer, bool]:
    """The provider's offer, and whether its signer is confirmed. Raises GatewayNotReady if it cannot be served."""
    found = await network.offer(provider, service)
    if found is None or not isinstance(found.offer, Offer):
        raise GatewayNotReady(
            f"{provider} has no registered service.", next_step="Register it: serving service register OFFER"
        )
    if not paid_routes(found.offer.service_type):
        raise GatewayNotReady(
            f"This gateway does not serve services of type {found.offer.service_type}.",
            next_step=f"Register a service of one of the types {', '.join(ROUTES_OF)}.",
        )
    return found.offer, found.confirmed


def _check_host(settings: Settings, plain_http: bool) -> None:
    try:
        local = ip_address(settings.host).is_loopback
    except ValueError:
        local = settings.host == "localhost"
    if not local and not plain_http:
        raise ConfigurationError(
            f"The gateway would listen on {settings.host} without TLS.",
            cause="Session tokens are sent in the clear, and whoever has one can spend its user's balance.",
            next_step="Listen on 127.0.0.1 behind nginx or Caddy, or pass --plain-http.",
        )


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        raise ConfigurationError(
            f"The gateway cannot listen on {settings.host}:{settings.port}.",
            cause=str(error),
            next_step="Choose another port in the settings.",
        ) from error
