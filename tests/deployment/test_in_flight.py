# SPDX-License-Identifier: Apache-2.0
"""An upgrade while a settlement is on its way: whichever is mined first, the provider is paid once, and in full."""

from typing import Any

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.fees import Fees
from serving_network.chain.receipts import Receipt
from serving_network.clients.read.books import Books
from serving_network.contracts import load
from serving_network.deployment.books import recorded_books
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.messages.transactions import SignedTransaction
from serving_network.messages.typed_data import TEESettlement, UserSettlement
from serving_network.wallet.local import LocalTeeSigner

from .conftest import Bench
from .people import COIN, open_accounts
from .test_upgrade import differences, running, upgrade

SERVICE = "inference-v1.0"
GWEI = 10**9
# Another implementation, without another compilation: one with another minimum.
OTHER = {"minProviderStake": str(10 * COIN)}


class InFlight:
    """A chain on which the settlement arrives just before the upgrade's last transaction, and one block takes both."""

    def __init__(self, chain: EmbeddedChain, settlement: bytes) -> None:
        self._chain = chain
        self._settlement = "0x" + settlement.hex()
        self._sent = 0
        chain.request("evm_setAutomine", [False])

    def request(self, method: str, params: list[Any]) -> Any:
        if method != "eth_sendRawTransaction":
            return self._chain.request(method, params)
        self._sent += 1
        if self._sent == 2:
            self._chain.request(method, [self._settlement])
        answer = self._chain.request(method, params)
        self._chain.request("evm_mine", [])
        return answer


def settlement(bench: Bench) -> bytes:
    """Calldata of a settlement of 1 coin of the user, signed by the TEE signer."""
    front = bench.record().contracts[SERVICE].front.address
    due = UserSettlement(bench.user.address, COIN, 1, b"\x01" * 32)
    signer = LocalTeeSigner(development_keys()[4].to_bytes())
    message = TEESettlement(bench.provider.address, due)
    return load("InferenceServing").interface.encode(
        "settleFeesWithTEE",
        [
            {
                "user": due.user,
                "provider": bench.provider.address,
                "totalFee": due.total_fee,
                "requestsHash": due.requests_hash,
                "nonce": due.nonce,
                "signature": signer.sign_typed(message, 31337, front),
            }
        ],
    )


@pytest.mark.parametrize(("tip", "first"), [(5 * GWEI, True), (1, False)], ids=["settled before", "settled after"])
def test_a_settlement_in_the_pool_is_paid_once_and_in_full(network: Bench, tip: int, first: bool) -> None:
    open_accounts(network)
    front, old = network.record().contracts[SERVICE].front.address, running(network, SERVICE)
    data = settlement(network)

    async def prepare(chain: AsyncConnection) -> SignedTransaction:
        return await chain.prepare(network.provider, front, data, gas=500_000, fees=Fees(100 * GWEI, tip))

    async def outcome(chain: AsyncConnection) -> tuple[Receipt | None, Books, list[str]]:
        receipt = await chain.receipt(signed.hash)
        assert receipt is not None
        return (
            receipt,
            await recorded_books(chain, network.record()),
            (await chain.block(receipt.block_number))["transactions"],
        )

    signed = network.run(prepare)
    done = upgrade(network, SERVICE, chain=InFlight(network.chain, signed.raw), arguments=OTHER)
    receipt, books, together = network.run(outcome)
    switched = done.steps[-1].mined
    assert switched is not None
    assert together == [signed.hash, switched.transaction][:: 1 if first else -1]
    assert receipt is not None
    assert receipt.succeeded
    (result,) = [
        event.args
        for log in receipt.logs
        if (event := load("InferenceServing").interface.decode_log(log)) is not None
        and event.name == "TEESettlementResult"
    ]
    assert result == {"user": network.user.address, "status": 0, "unsettledAmount": 0}
    assert books.problems == ()
    assert books.in_accounts == 2 * (4 * COIN + 3) - COIN
    assert running(network, SERVICE) != old
    assert differences(network) == []
