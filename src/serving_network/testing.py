# SPDX-License-Identifier: Apache-2.0
"""A complete serving network in this process, for tests: funded accounts, every role, and a movable clock."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from serving_network.chain.connection import Connection
from serving_network.clients import Network, Owner, Provider, User
from serving_network.deployment.local import deploy_local_network
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.localchain.server import ChainServer
from serving_network.wallet.local import LocalSigner

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = 0


class LocalNetwork:
    """A ledger, an inference service and a fine-tuning service on a chain in this process, at the default addresses.

    Account 0 owns the contracts; accounts 1 to 9 are free, each with 1,000,000 coins. `connection` and the
    clients made here share one event loop, so use them from one thread.
    """

    def __init__(self, chain: EmbeddedChain, connection: Connection) -> None:
        self.chain = chain
        self.connection = connection
        self.owner = Owner(connection, self.signer(OWNER))
        self.reader = Network(connection)

    @staticmethod
    def signer(number: int) -> LocalSigner:
        """The key of a funded account, 0 to 9."""
        return LocalSigner(development_keys()[number].to_bytes())

    def user(self, number: int) -> User:
        """A funded account as a user."""
        return User(self.connection, self.signer(number))

    def provider(self, number: int) -> Provider:
        """A funded account as a provider."""
        return Provider(self.connection, self.signer(number))

    def travel(self, seconds: int) -> None:
        """Advance the chain's clock by `seconds`; 86,400 unlocks refunds."""
        self.chain.request("evm_increaseTime", [seconds])
        self.chain.request("evm_mine", [])

    @contextmanager
    def reset_afterwards(self) -> Iterator[None]:
        """Undo at the end what happens inside the block."""
        snapshot = self.chain.request("evm_snapshot", [])
        try:
            yield
        finally:
            self.chain.request("evm_revert", [snapshot])

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve the chain to other programs while the block runs. Yields the URL (JSON-RPC over HTTP, WebSocket)."""
        server = ChainServer(self.chain, "127.0.0.1", 0)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server.url
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


@contextmanager
def local_network() -> Iterator[LocalNetwork]:
    """A new network; deploying it takes about a second."""
    chain = EmbeddedChain()
    with Connection.open(chain) as connection:
        deployer = LocalNetwork.signer(OWNER)
        connection.run(lambda: deploy_local_network(connection.core, deployer))
        yield LocalNetwork(chain, connection)
