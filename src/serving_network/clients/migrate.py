# SPDX-License-Identifier: Apache-2.0
"""Checklists for the migration from the old version, checked against the chain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from serving_network.clients.doctor import Check
from serving_network.clients.doctor.check import coins, step
from serving_network.contracts.models import FINE_TUNING, ZERO_ADDRESS
from serving_network.money import describe, rounded

if TYPE_CHECKING:
    from serving_network.clients.read.network import AsyncNetwork


async def provider_checklist(network: AsyncNetwork, provider: str, service: str = FINE_TUNING) -> list[Check]:
    """The steps for a provider of the old version."""
    found = await network.service(service)
    offer = await network.offer(provider, service)
    stake = (await network.settings(service))["MIN_PROVIDER_STAKE"]
    signer = offer.offer.tee_signer if offer else ZERO_ADDRESS
    return [
        Check("stake available", True, "the service is registered, and its stake is paid")
        if offer
        else replace(await coins(network, provider, "provider", stake), name="stake available", by=None),
        Check(
            "registered with the new arguments",
            offer is not None,
            "url, quota, price, occupied, models, teeSigner; the stake is sent with the registration",
            f"serving service register OFFER --service {found.name}",
        ),
        Check(
            "TEE signer set",
            None if offer is None else signer != ZERO_ADDRESS,
            ("" if signer == ZERO_ADDRESS else f"{signer}: ")
            + "settlements are checked against the registered signer, not against one in the user's account",
            f"serving service update --set tee_signer=0x... --service {found.name}",
        ),
        Check(
            "confirmed by the owner",
            None if offer is None else offer.confirmed,
            "new in this version: nothing is paid before",
            f"serving signer confirm {provider} --service {found.name}",
            "owner",
        ),
        Check(
            "signed message",
            True,
            "VerifierMessage has id, encryptedSecret, modelRootHash, nonce, taskFee and user, but no providerSigner "
            "(check yours with --typed-data)",
        ),
        Check(
            "events",
            True,
            "the arguments of ServiceUpdated are now url, quota, pricePerToken, teeSignerAddress, occupied; "
            "ProviderStaked precedes the first one",
        ),
    ]


async def user_checklist(network: AsyncNetwork, user: str, service: str = FINE_TUNING) -> list[Check]:
    """The steps for a user of the old version."""
    found = await network.service(service)
    ledger = await network.ledger(user)
    minimum, _ = await network.minimums()
    checks = [
        Check(
            "ledger",
            ledger is not None,
            f"{rounded(ledger.available)} available" if ledger else "none",
            await step(network, user, f"serving ledger open '{describe(minimum)}'", minimum),
        ),
        Check(
            "no acknowledgeProviderSigner",
            True,
            "funding a provider acknowledges the signer that its service registered",
        ),
    ]
    return checks + [
        Check(
            f"acknowledged: {account.provider}",
            account.acknowledged,
            f"balance {rounded(account.balance)} in {found.name}",
            f"serving ledger fund {account.provider} 0 --service {found.name}",
        )
        for account in await network.accounts(user=user, service=service)
    ]


async def owner_checklist(network: AsyncNetwork, service: str = FINE_TUNING) -> list[Check]:
    """The steps for the owner of the old version."""
    found = await network.service(service)
    versions = [one for one in await network.versions() if one.name == found.name]
    checks = [
        Check(
            "version recommended",
            any(one.recommended for one in versions),
            found.name,
            f"serving registry recommend {found.name}",
        )
    ]
    return checks + [
        Check(
            f"confirmed: {offer.provider}",
            offer.confirmed,
            f"TEE signer {offer.offer.tee_signer}",
            f"serving signer confirm {offer.provider} --expect {offer.offer.tee_signer} --service {found.name}",
        )
        for offer in await network.offers(service)
    ]
