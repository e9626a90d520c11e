# SPDX-License-Identifier: Apache-2.0
"""People who use a network under test: providers who register, users who pay in and ask back."""

from typing import Any

from serving_network.chain.connection import AsyncConnection
from serving_network.contracts import load
from serving_network.wallet.local import LocalSigner

from .conftest import Bench

COIN = 10**18


async def send(
    chain: AsyncConnection,
    who: LocalSigner,
    contract: str,
    address: str,
    function: str,
    *arguments: Any,
    value: int = 0,
) -> None:
    """Call a function of a contract as somebody; `value` in wei."""
    await chain.send(who, address, load(contract).interface.encode(function, *arguments), value=value)


def register_provider(bench: Bench, service: str = "inference-v1.0") -> None:
    """The provider registers in an inference service, and the owner confirms its TEE signer."""

    async def work(chain: AsyncConnection) -> None:
        front = bench.record().contract(service).front.address
        params = {
            "serviceType": "chatbot",
            "url": "https://provider.example",
            "model": "m",
            "verifiability": "TeeML",
            "inputPrice": 10**9,
            "outputPrice": 10**9,
            "additionalInfo": "{}",
            "teeSignerAddress": bench.tee_signer.address,
        }
        await send(chain, bench.provider, "InferenceServing", front, "addOrUpdateService", params, value=100 * COIN)
        await send(
            chain,
            bench.owner,
            "InferenceServing",
            front,
            "acknowledgeTEESignerByOwner",
            bench.provider.address,
            bench.tee_signer.address,
        )

    bench.run(work)


def open_accounts(bench: Bench, service: str = "inference-v1.0") -> None:
    """A registered provider, and two users with money with it; one of them has asked hers back."""
    register_provider(bench, service)

    async def work(chain: AsyncConnection) -> None:
        ledger = bench.record().ledger.front.address
        for who in (bench.user, bench.stranger):
            await send(chain, who, "LedgerManager", ledger, "addLedger", "", value=10 * COIN + 7)
            await send(
                chain, who, "LedgerManager", ledger, "transferFund", bench.provider.address, service, 4 * COIN + 3
            )
        await send(chain, bench.stranger, "LedgerManager", ledger, "retrieveFund", [bench.provider.address], service)

    bench.run(work)
