"""A whole network on a chain in this process, deployed once, and put back after each test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serving_network.chain.connection import Connection
from serving_network.chain.embedded import EmbeddedChain
from serving_network.chain.embedded.accounts import development_keys
from serving_network.chain.server import ChainServer
from serving_network.chain.signer import LocalSigner
from serving_network.clients import Owner, Provider, User
from serving_network.clients.models import FineTuningOffer, Offer, Quota
from serving_network.deployment.local import deploy_local_network
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.settlement.signers import LocalTeeSigner

TEE_KEY = bytes(31) + b"\x07"


def signer(number: int) -> LocalSigner:
    """The development account of this number."""
    return LocalSigner(development_keys()[number].to_bytes())


@dataclass
class World:
    """A network and a person in each role."""

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

    def travel(self, seconds: int) -> None:
        """Let time pass."""
        self.chain.request("evm_increaseTime", [seconds])
        self.chain.request("evm_mine", [])


@contextmanager
def deployed_world() -> Iterator[World]:
    """The world as it is after deployment."""
    chain = EmbeddedChain()
    with Connection.open(chain) as connection:
        connection.runner.run(deploy_local_network(connection.core, signer(0)))
        yield World(
            chain,
            connection,
            Owner(connection, signer(0)),
            Provider(connection, signer(1)),
            Provider(connection, signer(2)),
            User(connection, signer(3)),
            User(connection, signer(4)),
            User(connection, signer(5)),
            LocalTeeSigner(TEE_KEY),
        )


@contextmanager
def served_at(world: World) -> Iterator[str]:
    """The address at which programs outside this process reach the world's chain."""
    server = ChainServer(world.chain, "127.0.0.1", 0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
    try:
        yield server.url
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
