# SPDX-License-Identifier: Apache-2.0
"""The base of the clients that act: a network plus a signer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self

from serving_network.chain.connection import AsyncConnection, Connection
from serving_network.chain.contract import Call
from serving_network.chain.receipts import Receipt
from serving_network.clients.read.network import LOCAL_LEDGER, AsyncNetwork, Network
from serving_network.errors import InvalidInput

if TYPE_CHECKING:
    from eth_typing import ChecksumAddress

    from serving_network.chain.fees import Fees
    from serving_network.chain.reading import Target
    from serving_network.signing import Signer

Submit = Callable[[Call], Awaitable[Receipt]]


class AsyncActor(AsyncNetwork):
    """A network and a signer. All changes are sent through `submit`.

    `fees` and `gas`, if set, apply to every transaction; otherwise both are estimated. A call returns once its
    transaction is `confirmations` blocks deep; `timeout` is in seconds.
    """

    chain: AsyncConnection

    def __init__(
        self,
        chain: AsyncConnection,
        signer: Signer,
        ledger: str = LOCAL_LEDGER,
        *,
        fees: Fees | None = None,
        gas: int | None = None,
        confirmations: int = 1,
        timeout: float = 120,
    ) -> None:
        super().__init__(chain, ledger)
        if not hasattr(signer, "sign_typed_data"):
            raise InvalidInput(
                f"{type(self).__name__.removeprefix('Async')} takes a signer, not this {type(signer).__name__}.",
                next_step="Make one of a private key: LocalSigner(key), from serving_network.wallet.local.",
            )
        self.signer = signer
        self.submit: Submit = self._send
        self._fees = fees
        self._gas = gas
        self._confirmations = confirmations
        self._timeout = timeout

    @property
    def address(self) -> ChecksumAddress:
        """The address of the signer."""
        return self.signer.address

    async def _send(self, call: Call) -> Receipt:
        """Send the call and wait until it is mined."""
        return await self.chain.send(
            self.signer,
            call.to,
            call.data,
            value=call.value,
            gas=self._gas,
            fees=self._fees,
            timeout=self._timeout,
            confirmations=self._confirmations,
        )

    @classmethod
    async def connect(
        cls, target: Target, signer: Signer, ledger: str = LOCAL_LEDGER, expected_chain_id: int | None = None
    ) -> Self:
        """Connect, and sign with this signer. `target` is as for `AsyncConnection.open`."""
        return cls(await AsyncConnection.open(target, expected_chain_id), signer, ledger)


class Actor(Network):
    """The base of the sync versions of the clients that act."""

    role: type[AsyncActor] = AsyncActor

    def __init__(
        self,
        connection: Connection,
        signer: Signer,
        ledger: str = LOCAL_LEDGER,
        *,
        fees: Fees | None = None,
        gas: int | None = None,
        confirmations: int = 1,
        timeout: float = 120,
    ) -> None:
        super().__init__(connection, ledger)
        self.core = self.role(
            connection.core, signer, ledger, fees=fees, gas=gas, confirmations=confirmations, timeout=timeout
        )
        self.address = signer.address
