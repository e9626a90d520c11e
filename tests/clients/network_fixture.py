# SPDX-License-Identifier: Apache-2.0
"""A complete network on a chain in this process, deployed once and reset after each test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from serving_network.chain.connection import Connection
from serving_network.chain.transport import InProcessTransport, RpcCall
from serving_network.clients import Owner, Provider, User
from serving_network.contracts.models import FineTuningOffer, Offer, Quota
from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.testing import LocalNetwork, local_network
from serving_network.wallet.local import LocalTeeSigner

signer = LocalNetwork.signer
TEE_KEY = bytes(31) + b"\x07"


class TakingTurns(InProcessTransport):
    """The chain in this process: as with any node, others go on before it answers, and before its answer arrives."""

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        await asyncio.sleep(0)
        answers = await super().ask(calls)
        await asyncio.sleep(0)
        return answers


@dataclass
class World:
    """A network, with a client for each role."""

    network: LocalNetwork
    chain: EmbeddedChain
    connection: Connection
    owner: Owner
    provider: Provider
    other_provider: Provider
    user: User
    other_user: User
    stranger: User
    tee_signer: LocalTeeSigner

    def offer(self, **changes: object) -> Offer:
        """What the provider offers for inference."""
        usual: dict[str, object] = {
            "service_type": "chatbot",
            "url": "https://provider.example",
            "model": "model-1",
            "verifiability": "TeeML",
            "input_price": 100,
            "output_price": 200,
            "additional_info": "{}",
            "tee_signer": self.tee_signer.address,
        }
        return Offer(**(usual | changes))  # type: ignore[arg-type]

    def fine_tuning_offer(self, **changes: object) -> FineTuningOffer:
        """What the provider offers for fine-tuning."""
        usual: dict[str, object] = {
            "url": "https://provider.example",
            "quota": Quota(8, 64, 1, 1000, "H100"),
            "price_per_token": 10,
            "occupied": False,
            "models": ("model-1", "model-2"),
            "tee_signer": self.tee_signer.address,
        }
        return FineTuningOffer(**(usual | changes))  # type: ignore[arg-type]

    def with_account(self, deposit: int = 10 * COIN, amount: int = 5 * COIN) -> None:
        """A registered and confirmed provider, and a user with an account."""
        self.provider.register(self.offer())
        self.owner.confirm(self.provider.address)
        self.user.open_ledger(deposit)
        self.user.fund(self.provider.address, amount)


@contextmanager
def deployed_world() -> Iterator[World]:
    """The world after deployment."""
    with local_network() as network:
        yield World(
            network,
            network.chain,
            network.connection,
            network.owner,
            network.provider(1),
            network.provider(2),
            network.user(3),
            network.user(4),
            network.user(5),
            LocalTeeSigner(TEE_KEY),
        )
