# SPDX-License-Identifier: Apache-2.0
"""What a provider needs before it can be paid. It needs no ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_network.clients.doctor.check import Check, coins, step
from serving_network.contracts.models import FINE_TUNING, INFERENCE, ZERO_ADDRESS
from serving_network.money import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.clients.read.network import AsyncNetwork, Service
    from serving_network.contracts.models import ProviderService


async def examine_provider(network: AsyncNetwork, provider: str, service: str = INFERENCE) -> list[Check]:
    """Check that this provider can be paid: coins for stake and gas, and a service whose TEE signer is confirmed."""
    offer = await network.offer(provider, service)
    stake = 0 if offer else int((await network.settings(service))["MIN_PROVIDER_STAKE"])
    return [await coins(network, provider, "provider", stake), *await examine_service(network, provider, service)]


async def examine_service(network: AsyncNetwork, provider: str, service: str) -> list[Check]:
    """Check that the provider has a service whose TEE signer is confirmed."""
    found = await network.service(service)
    offer = await network.offer(provider, service)
    return [
        await _registered(network, offer, provider, found),
        await _signer_set(network, offer, provider, found),
        await _confirmed(network, offer, found),
    ]


def sharing(offer: ProviderService, offers: Sequence[ProviderService], kind: str) -> str | None:
    """Another provider of these offers with the same TEE signer, where that prevents a confirmation."""
    if kind != FINE_TUNING:
        return None
    signer = offer.offer.tee_signer
    return next(
        (one.provider for one in offers if one.offer.tee_signer == signer and one.provider != offer.provider), None
    )


def confirmation(offer: ProviderService) -> str:
    """The owner's command that confirms the TEE signer of this offer."""
    return f"serving signer confirm {offer.provider} --expect {offer.offer.tee_signer} --service {offer.service}"


async def _registered(network: AsyncNetwork, offer: ProviderService | None, provider: str, service: Service) -> Check:
    detail, command = f"{provider} in {service.name}", None
    if offer is None:
        stake = int((await network.settings(service.name))["MIN_PROVIDER_STAKE"])
        detail += f", with a stake of {describe(stake)}. For an offer file: serving service register --example"
        command = f"serving service register offer.toml --service {service.name}"
        command = await step(network, provider, command, stake)
        if elsewhere := await network.services_of(provider):
            detail += f". {provider} is in {' and '.join(elsewhere)}: to check that, pass --service {elsewhere[0]}"
    return Check("service registered", offer is not None, detail, command, "provider")


async def _signer_set(network: AsyncNetwork, offer: ProviderService | None, provider: str, service: Service) -> Check:
    signer = ZERO_ADDRESS if offer is None else offer.offer.tee_signer
    return Check(
        "TEE signer set",
        None if offer is None else signer != ZERO_ADDRESS,
        "no service" if offer is None else signer,
        await _own_signer(network, provider, service),
        "provider",
    )


async def _own_signer(network: AsyncNetwork, provider: str, service: Service) -> str:
    return await step(network, provider, f"serving service update --set tee_signer=0x... --service {service.name}")


async def _confirmed(network: AsyncNetwork, offer: ProviderService | None, service: Service) -> Check:
    name = "confirmed by the owner"
    if offer is None or offer.offer.tee_signer == ZERO_ADDRESS:
        return Check(name, None, "no TEE signer")
    signer = f"TEE signer {offer.offer.tee_signer}"
    if offer.confirmed:
        return Check(name, True, signer)
    owner = (await network.settings(service.name))["owner"]
    if owner == ZERO_ADDRESS:
        return Check(name, False, f"{service.name} has no owner who could confirm it", "serving registry list")
    if other := sharing(offer, await network.offers(service.name), service.kind):
        detail = f"{signer} is also that of {other}"
        return Check(name, False, detail, await _own_signer(network, offer.provider, service), "provider")
    return Check(name, False, signer, await step(network, owner, confirmation(offer)), "owner")
