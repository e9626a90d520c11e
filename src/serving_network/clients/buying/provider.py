# SPDX-License-Identifier: Apache-2.0
"""The provider that a user buys from: its server, and its TEE signer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from serving_network.clients.read.inference import inference_service
from serving_network.errors import ConfigurationError

if TYPE_CHECKING:
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.contracts.models import Offer
    from serving_network.store.bills import BillStore

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class SignerChanged(ConfigurationError):
    """The provider's TEE signer is another one than the user trusts, or is not confirmed."""


async def trusted_offer(network: AsyncNetwork, provider: str, service: str, bill: BillStore) -> Offer:
    """What a provider registered whose TEE signer is confirmed, and is the one that this user trusts.

    The first one is trusted. Raises SignerChanged.
    """
    offer, confirmed = await inference_service(network, provider, service)
    if not confirmed:
        raise SignerChanged(
            f"The TEE signer of {provider} is not confirmed by the owner of the network.",
            next_step="Wait until it is, or use another provider: serving service list",
        )
    trusted = bill.signer()
    if trusted is None:
        bill.trust(offer.tee_signer)
    elif trusted != offer.tee_signer:
        raise SignerChanged(
            f"The TEE signer of {provider} has changed.",
            cause=f"You trusted {trusted}; now it is {offer.tee_signer}.",
            next_step=f"Verify it, then trust it: serving service verify {provider} --trust",
        )
    return offer


def is_encrypted(url: str) -> bool:
    """Whether nobody on the way can read a token that is sent to this URL."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in LOOPBACK
