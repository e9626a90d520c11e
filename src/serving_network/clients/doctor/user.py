# SPDX-License-Identifier: Apache-2.0
"""What a user needs before it can fund any provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving_network.clients.doctor.check import Check, coins
from serving_network.contracts.models import INFERENCE
from serving_network.counting import count
from serving_network.money import describe, rounded

if TYPE_CHECKING:
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.contracts.models import Ledger


async def examine_user(network: AsyncNetwork, user: str, service: str = INFERENCE) -> list[Check]:
    """Check that this user can fund a provider, and name one."""
    ledger = await network.ledger(user)
    minimum, _ = await network.minimums()
    offers = [one for one in await network.offers(service) if one.provider != user]
    return [
        await coins(network, user, "user", 0 if ledger else minimum, needed=ledger is None),
        has_ledger(ledger, minimum),
        Check(
            "providers",
            True,
            f"{count(len(offers), 'provider')}; to check a payment: serving doctor --provider {offers[0].provider}"
            if offers
            else "none has registered yet",
        ),
    ]


def has_ledger(ledger: Ledger | None, amount: int) -> Check:
    """Check that there is a ledger. If not, it is opened with `amount`."""
    return Check(
        "ledger",
        ledger is not None,
        "none" if ledger is None else f"{rounded(ledger.available)} available",
        f"serving ledger open '{describe(amount)}'",
        "user",
    )
