# SPDX-License-Identifier: Apache-2.0
"""A provider of inference, as clients use it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from serving_network.addresses import to_checksum_address
from serving_network.contracts.errors import ServiceNotExist
from serving_network.contracts.models import INFERENCE, Offer
from serving_network.errors import InvalidInput

if TYPE_CHECKING:
    from serving_network.clients.read.network import AsyncNetwork


async def inference_service(network: AsyncNetwork, provider: str, service: str = INFERENCE) -> tuple[Offer, bool]:
    """What the provider registered, and whether its TEE signer is confirmed.

    Raises ServiceNotExist, and InvalidInput if it has no server for inference.
    """
    found = await network.offer(provider, service)
    if found is None:
        raise ServiceNotExist(provider=to_checksum_address(provider))
    offer = found.offer
    if not isinstance(offer, Offer) or not is_server_url(offer.url):
        raise InvalidInput(
            f"The service of {provider} has no inference server with an http or https URL.",
            next_step="Choose another provider: serving service list",
        )
    return replace(offer, url=offer.url.rstrip("/")), found.confirmed


def is_server_url(url: str) -> bool:
    """Whether this is an http or https URL to which a path can be added: no user, query or fragment."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return known and url.isprintable() and not any(one in url for one in "@?# \\")
