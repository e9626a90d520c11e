# SPDX-License-Identifier: Apache-2.0
"""What waits for the owner of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_network.clients.doctor.check import Check, coins
from serving_network.clients.doctor.provider import confirmation, sharing
from serving_network.contracts.models import INFERENCE, ZERO_ADDRESS
from serving_network.counting import count

if TYPE_CHECKING:
    from serving_network.clients.read.network import AsyncNetwork


async def examine_offers(network: AsyncNetwork, address: str) -> list[Check]:
    """A failed check if the business ownership of a contract is offered to this address; else none."""
    contracts = {"ledger": network.ledger_contract} | {one.name: one.contract for one in await network.services()}
    offered = [
        name
        for name, contract in contracts.items()
        if await contract.has("pendingOwner") and await contract.read("pendingOwner") == address
    ]
    if not offered:
        return []
    detail = f"of {', '.join(offered)} is offered to {address}, and not accepted yet"
    return [Check("ownership", False, detail, "serving ownership accept", "owner")]


async def examine_owner(network: AsyncNetwork, owner: str, service: str = INFERENCE) -> list[Check]:
    """Check that no TEE signer of this service waits for its owner, and that the owner can pay for a confirmation."""
    found = await network.service(service)
    offers = await network.offers(service)
    waiting = [
        one
        for one in offers
        if not one.confirmed and one.offer.tee_signer != ZERO_ADDRESS and sharing(one, offers, found.kind) is None
    ]
    detail = "no provider has registered yet"
    if offers:
        confirmed = sum(one.confirmed for one in offers)
        detail = f"{confirmed} of {count(len(offers), 'provider')} confirmed"
    if waiting and found.kind == INFERENCE:  # only servers of inference have a quote to verify
        detail += f". First review the signer: serving signer review {waiting[0].provider} --service {found.name}"
    return [
        await coins(network, owner, "owner", needed=bool(waiting)),
        Check(f"signers of {found.name}", not waiting, detail, confirmation(waiting[0]) if waiting else None, "owner"),
    ]
