# SPDX-License-Identifier: Apache-2.0
"""Run the example on a private chain: the owner, the provider and the users act through the clients.

Each step returns a sentence that says what was done, with amounts read from the chain.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from serving_network.addresses import to_checksum_address
from serving_network.chain.connection import AsyncConnection
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.read.books import BookLine, network_books
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.user import AsyncUser
from serving_network.contracts.models import FINE_TUNING, FineTuningOffer, Offer, Quota
from serving_network.demo.example import (
    DAY,
    INPUT_PRICE,
    MINIMUM_FEE,
    OUTPUT_PRICE,
    ExampleUser,
    Part,
    log_lines,
    users,
)
from serving_network.deployment.local import deploy_local_network
from serving_network.localchain.accounts import development_keys
from serving_network.messages.typed_data import VerifierMessage
from serving_network.money import ALL, WEI_PER_COIN, describe
from serving_network.settlement.journal import open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalSigner, LocalTeeSigner

GENESIS_TIME: Final = int(DAY.timestamp()) - 3 * 86_400
TASK_FEE: Final = 2 * WEI_PER_COIN
MODEL: Final = bytes.fromhex("1ded137593d0e8717bcaa5d69c77e63c33202d3f3c1575ad206df79bbe4d752c")
SECRET: Final = b"key of the model, encrypted for the user"

_TEE: Final = LocalTeeSigner(b"serving-network example TEE key.")
_GAS: Final = 400_000  # more than any step of a user needs, so that no estimate is required
_WALLET: Final = 1_000 * WEI_PER_COIN


class Play:
    """The participants. `directory` contains the provider's usage log and journal."""

    def __init__(self, chain: AsyncConnection, directory: Path) -> None:
        self._chain = chain
        self._directory = directory
        self._log = directory / "usage.csv"
        self._log.write_text("".join(log_lines()), encoding="utf-8")
        owner, provider = (LocalSigner(development_keys()[number].to_bytes()) for number in (0, 1))
        self._owner_key = owner
        self._provider_key = provider
        self.owner = AsyncOwner(chain, owner)
        self.provider = AsyncProvider(chain, provider)
        self.users = users()
        self._acting = {user.address: AsyncUser(chain, LocalSigner(user.key), gas=_GAS) for user in self.users}

    async def deploy(self) -> str:
        """Owner: deploy the network."""
        record = await deploy_local_network(self._chain, self._owner_key)
        return f"deployed the ledger and {len(record.services)} services on a chain in this process"

    async def register(self) -> str:
        """Provider and owner: register two services with stakes, and confirm them."""
        tee = to_checksum_address(_TEE.address)
        chat = Offer(
            "chatbot", "https://provider.example/v1", "llama-3.3-70b", "TeeML", INPUT_PRICE, OUTPUT_PRICE, "{}", tee
        )
        tuning = FineTuningOffer(
            "https://provider.example", Quota(32, 256, 8, 4000, "H100"), 10**12, False, ("qwen-2.5-0.5b",), tee
        )
        for offer in (chat, tuning):
            await self.provider.register(offer)
        await self.owner.confirm(self.provider.address, signer=tee)
        await self.owner.confirm(self.provider.address, FINE_TUNING, signer=tee)
        return f"registered inference and fine-tuning, staking {describe(2 * 100 * WEI_PER_COIN)}; the owner confirmed"

    async def fund(self) -> str:
        """Users: open ledgers, and fund the provider."""
        total = 0
        for user in self.users:
            await self._chain.rpc("anvil_setBalance", [user.address, hex(_WALLET)])
            await self._acting[user.address].open_ledger(max(3 * WEI_PER_COIN, user.funds))
            await self._acting[user.address].fund(self.provider.address, user.funds)
            total += user.funds
        return f"{len(self.users)} users funded the provider with {describe(total)}"

    async def take_back(self) -> str:
        """One user: retrieve all funds from the provider, and revoke the acknowledgement."""
        acting = self._acting[self._one(Part.UNACKNOWLEDGED).address]
        await acting.retrieve([self.provider.address])
        await self.wait_for_lock_time()
        await acting.retrieve([self.provider.address])
        await acting.acknowledge(self.provider.address, acknowledged=False)
        return "one user collected a full refund after the lock time, and revoked the acknowledgement of the TEE signer"

    async def ask_for_a_refund(self) -> str:
        """One user: request a refund while requests are unsettled."""
        acting = self._acting[self._one(Part.REFUNDING).address]
        await acting.retrieve([self.provider.address])
        account = await acting.account(acting.address, self.provider.address)
        asked = 0 if account is None else account.pending_refund
        return f"one user requested a refund of {describe(asked)}, with a day of requests still unsettled"

    async def settle(self, *, with_log: bool = True) -> Report:
        """Provider: settle the day's usage log, or without it, what earlier runs left unsettled."""
        chain = await LiveChain.open(self._chain, self._provider_key)
        identity = Identity(chain.chain_id, await chain.block_hash(0) or "", chain.contract, chain.provider)
        with open_journal(self._directory / "journal", identity) as journal:
            run = Settlement(chain, journal, _TEE, Options(minimum_fee=MINIMUM_FEE, first_pause=0.001))
            return await run.run(UsageLog(self._log, provider=chain.provider) if with_log else None)

    async def pay_in(self, report: Report) -> str:
        """Users whose balance was too small: fund the provider again."""
        total = 0
        for user in self.users:
            if user.part is Part.SHORT:
                missing = max(WEI_PER_COIN, report.lines[user.address].unsettled)
                acting = self._acting[user.address]
                await acting.deposit(missing)
                await acting.fund(self.provider.address, missing)
                total += missing
        return f"the users whose balance was too low deposited {describe(total)}"

    async def fine_tune(self, user: ExampleUser, task: str, *, acknowledged: bool) -> str:
        """Settle a fine-tuning task, with the penalty if the user does not acknowledge the deliverable."""
        acting = self._acting[user.address]
        await acting.deposit(TASK_FEE)
        await acting.fund(self.provider.address, TASK_FEE, FINE_TUNING)
        await self.provider.add_deliverable(user.address, task, MODEL)
        if acknowledged:
            await acting.acknowledge_deliverable(self.provider.address, task)
        service = await self.provider.service(FINE_TUNING)
        message = VerifierMessage(
            task, SECRET if acknowledged else b"", MODEL, time.time_ns() // 100, TASK_FEE, user.address
        )
        signature = _TEE.sign_typed(message, self._chain.chain_id, service.address)
        await self.provider.settle_deliverable(message, signature)
        account = await acting.account(user.address, self.provider.address, FINE_TUNING)
        paid = TASK_FEE - (0 if account is None else account.balance)
        what = "acknowledged: paid in full" if acknowledged else "not acknowledged: the penalty was paid"
        return f"{task} of {describe(TASK_FEE)}, {what}, {describe(paid)}"

    async def wait_for_lock_time(self) -> None:
        """Let the lock time of refunds pass."""
        settings = await self.owner.settings()
        await self._chain.rpc("evm_increaseTime", [settings["lockTime"] + 1])
        await self._chain.rpc("evm_mine")

    async def withdraw(self) -> str:
        """The user who requested a refund: collect it after the lock time, and withdraw it to the wallet."""
        await self.wait_for_lock_time()
        acting = self._acting[self._one(Part.REFUNDING).address]
        await acting.retrieve([self.provider.address])
        ledger = await acting.ledger(acting.address)
        await acting.withdraw(ALL)
        home = describe(ledger.available if ledger else 0)
        return f"a day later the rest of the refund was unlocked, and {home} moved from the ledger to the wallet"

    async def books(self) -> list[BookLine]:
        """The coins that each contract holds, and those that it owes."""
        return (await network_books(AsyncNetwork(self._chain))).lines

    def _one(self, part: Part) -> ExampleUser:
        return next(user for user in self.users if user.part is part)
