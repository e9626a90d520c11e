# SPDX-License-Identifier: Apache-2.0
"""Typed clients: `Network` reads; `User`, `Provider` and `Owner` act. Each has an async version (`AsyncUser`)."""

from serving_network.clients.owner import AsyncOwner, Owner
from serving_network.clients.provider import AsyncProvider, Provider, SettlementResult, SignedSettlement
from serving_network.clients.read.network import AsyncNetwork, Network, Service
from serving_network.clients.user import AsyncUser, Funding, User

__all__ = [
    "AsyncNetwork",
    "AsyncOwner",
    "AsyncProvider",
    "AsyncUser",
    "Funding",
    "Network",
    "Owner",
    "Provider",
    "Service",
    "SettlementResult",
    "SignedSettlement",
    "User",
]
