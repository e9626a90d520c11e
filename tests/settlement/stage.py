# SPDX-License-Identifier: Apache-2.0
"""A network on a private chain with a provider and its users, as settlement tests need it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving_network.addresses import to_checksum_address
from serving_network.chain.connection import AsyncConnection
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.user import AsyncUser
from serving_network.contracts.codec import Interface
from serving_network.contracts.models import Offer
from serving_network.deployment.deploy import new_record, plan_deployment
from serving_network.deployment.engine import RunOptions, carry_out
from serving_network.deployment.local import LOCAL
from serving_network.deployment.record_file import RecordFile
from serving_network.deployment.spec import NetworkSpec
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.wallet.local import LocalSigner, LocalTeeSigner
from tests.shared import compile_contract

ROOT = Path(__file__).parents[2]
COIN = 10**18
TEE = LocalTeeSigner(b"\x07" * 32)
INPUT_PRICE, OUTPUT_PRICE = 1_000_000, 3_000_000
GAS = 1_000_000
"""More than any action of a user needs. To estimate it takes several calls for each."""
SPEC = NetworkSpec(chain_id=LOCAL.chain_id, ledger=LOCAL.ledger, services=LOCAL.services[:1])


def dev_signer(number: int) -> LocalSigner:
    """The development account of this number."""
    return LocalSigner(development_keys()[number].to_bytes())


OWNER, PROVIDER = dev_signer(0), dev_signer(1)
USERS = [LocalSigner(bytes([number]) * 32) for number in range(1, 101)]


@dataclass
class Stage:
    """A deployed network with the provider registered and confirmed."""

    chain: AsyncConnection
    network: AsyncNetwork
    provider: AsyncProvider
    owner: AsyncOwner

    @classmethod
    async def on(cls, chain: AsyncConnection) -> Stage:
        """The stage on a chain where it was set up before."""
        return cls(chain, AsyncNetwork(chain), AsyncProvider(chain, PROVIDER), AsyncOwner(chain, OWNER))

    def user(self, key: LocalSigner) -> AsyncUser:
        """A user, acting."""
        return AsyncUser(self.chain, key, gas=GAS)

    async def fund(self, user: LocalSigner, amount: int) -> AsyncUser:
        """Give a user a ledger and an account with the provider that holds `amount` wei, or so much more."""
        await self.chain.rpc("anvil_setBalance", [user.address, hex(1000 * COIN)])
        acting = self.user(user)
        if await self.network.ledger(user.address) is None:
            await acting.open_ledger(max(3 * COIN, amount))
        else:
            await acting.deposit(max(COIN, amount))
        await acting.fund(PROVIDER.address, amount)
        return acting


async def set_up(chain: AsyncConnection, users: Sequence[LocalSigner] = (), amount: int = COIN) -> Stage:
    """Deploy the network, register and confirm the provider, and fund users."""
    file = RecordFile(None, await new_record(chain, "local", SPEC, OWNER.address))
    plan = await plan_deployment(chain, SPEC, file.record, OWNER.address)
    await carry_out(chain, OWNER, file, plan, RunOptions(estimate=False))
    stage = await Stage.on(chain)
    offer = Offer(
        service_type="chatbot",
        url="https://provider.example/v1",
        model="model-1",
        verifiability="TeeML",
        input_price=INPUT_PRICE,
        output_price=OUTPUT_PRICE,
        additional_info="{}",
        tee_signer=to_checksum_address(TEE.address),
    )
    await stage.provider.register(offer)
    await stage.owner.confirm(PROVIDER.address)
    for user in users:
        await stage.fund(user, amount)
    return stage


def prepare_in_process(chain: EmbeddedChain, users: Sequence[LocalSigner], amount: int) -> None:
    """Set a stage up on a chain in this process."""

    async def prepare() -> None:
        async with await AsyncConnection.open(chain) as connection:
            await set_up(connection, users, amount)

    asyncio.run(prepare())


async def send_through_a_contract(connection: AsyncConnection, sender: LocalSigner, contract: str, data: bytes) -> str:
    """Give the provider's wallet code for one transaction, in which somebody else makes it call `contract`."""
    compiled = compile_contract(ROOT / "tests/unit/serving/mocks/Caller.vy", ROOT)
    deployed = await connection.send(sender, None, compiled.bytecode)
    code = await connection.rpc("eth_getCode", [deployed.contract_address, "latest"])
    await connection.rpc("anvil_setCode", [PROVIDER.address, code])
    receipt = await connection.send(sender, PROVIDER.address, Interface(compiled.abi).encode("act", contract, data, 0))
    await connection.rpc("anvil_setCode", [PROVIDER.address, "0x"])
    return receipt.transaction_hash
