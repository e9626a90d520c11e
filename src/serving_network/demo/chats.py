# SPDX-License-Identifier: Apache-2.0
"""A second provider of the example sells a model through a gateway, and three users chat with it.

Each step returns a sentence that says what was done, with amounts from receipts and from the chain.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from serving_network.addresses import to_checksum_address
from serving_network.chain.connection import AsyncConnection
from serving_network.clients.bills.evidence import read_evidence
from serving_network.clients.bills.matching import Coverage
from serving_network.clients.bills.verdict import Verdict, verify_bill
from serving_network.clients.buying.purchase import Buyer
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.user import AsyncUser
from serving_network.contracts.models import Offer
from serving_network.counting import count
from serving_network.demo.model_server import MODEL, model_server
from serving_network.gateway.running import running
from serving_network.gateway.settings import Settings
from serving_network.localchain.accounts import development_keys
from serving_network.messages.receipts import Receipt
from serving_network.money import WEI_PER_COIN, describe
from serving_network.settlement.journal import open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.bills import BillIdentity, open_bill
from serving_network.store.opening import identity_of
from serving_network.wallet.local import LocalSigner, LocalTeeSigner

INPUT_PRICE: Final = 10**15
OUTPUT_PRICE: Final = 3 * 10**15
"""In wei per token: so high that an account with the minimum of one coin is soon empty."""
STALL: Final = 12
"""The number of tokens after which a stream stalls until its user cancels it."""

_OWNER, _PROVIDER, _PATIENT, _CANCELLING, _POOR = 0, 2, 3, 4, 5
_TEE: Final = LocalTeeSigner(b"serving-network example TEE key2")


class Chats:
    """The participants. `directory` contains the provider's store and the users' receipts."""

    def __init__(self, chain: AsyncConnection, directory: Path) -> None:
        self._chain = chain
        self._directory = directory
        self.store = directory / "gateway.journal"
        self._owner = AsyncOwner(chain, _signer(_OWNER))
        self._provider = AsyncProvider(chain, _signer(_PROVIDER))

    @asynccontextmanager
    async def selling(self) -> AsyncIterator[str]:
        """Provider and users: register and confirm the service, fund accounts, and serve while the block runs."""
        offer = Offer(
            "chatbot",
            "http://127.0.0.1",
            MODEL,
            "TeeML",
            INPUT_PRICE,
            OUTPUT_PRICE,
            "{}",
            to_checksum_address(_TEE.address),
        )
        provider = self._provider.address
        await self._provider.register(offer)
        await self._owner.confirm(provider)
        for number in (_PATIENT, _CANCELLING, _POOR):
            user = self._user(number)
            await user.open_ledger((await user.minimums())[0])
            await user.fund(provider, WEI_PER_COIN)
        async with (
            model_server(stall=STALL) as upstream,
            running(
                Settings(provider, upstream, port=0), AsyncNetwork(self._chain), _TEE, self.store, stop_seconds=0.5
            ) as gateway,
        ):
            await self._provider.update(replace(offer, url=gateway.url))
            yield f"a second provider sells through a gateway; 3 users funded it with {describe(3 * WEI_PER_COIN)}"

    async def ask(self) -> str:
        """One user: ask, and check the signatures of answer and receipt."""
        async with self._buyer(_PATIENT) as buyer, buyer.ask("/chat/completions", _question()) as purchase:
            await purchase.body()
            receipt = (await purchase.prove()).receipt
        return f"one user asked, and checked the signed receipt: {_tokens(receipt)}, {describe(receipt.fee)}"

    async def cancel(self) -> str:
        """One user: cancel a stream. Only what was delivered is billed."""
        async with self._buyer(_CANCELLING) as buyer:
            async with buyer.ask("/chat/completions", _question(stream=True)) as purchase:
                seen = 0
                async for part in purchase.parts():
                    seen += part.count(b"data: ")
                    if seen == STALL:
                        break
            receipt = (await purchase.prove()).receipt
        return f"one user cancelled a stream, and was billed what arrived: {_tokens(receipt)}, {describe(receipt.fee)}"

    async def run_out(self) -> str:
        """One user: ask until the account cannot cover another answer."""
        answers = fees = 0
        async with self._buyer(_POOR) as buyer:
            while True:
                async with buyer.ask("/chat/completions", _question()) as purchase:
                    if purchase.status == 402:
                        break
                    await purchase.body()
                    fees += (await purchase.prove()).receipt.fee
                    answers += 1
        return (
            f"one user got {count(answers, 'answer')} for {describe(fees)}, then was refused: the"
            f" {describe(WEI_PER_COIN - fees)} left did not cover another"
        )

    async def settle(self) -> tuple[str, Report]:
        """Provider: settle what the gateway served."""
        chain = await LiveChain.open(self._chain, self._provider.signer)
        with open_journal(self.store, identity_of(self.store)) as journal:
            report = await Settlement(chain, journal, _TEE, Options(interval=0, first_pause=0.001)).run(None)
        settlements = f"{count(report.settlements, 'user')} in {count(report.batches, 'transaction')}"
        return f"settled what the gateway served: {describe(report.paid)} from {settlements}", report

    async def verify(self) -> tuple[str, Verdict]:
        """One user: verify the bill against the chain."""
        identity = await self._identity(_POOR)
        with open_bill(self._directory / identity.file_name, identity) as bill:
            verdict = verify_bill(bill.receipts(), await read_evidence(AsyncNetwork(self._chain), identity))
        covered = describe(verdict.paid(Coverage.COVERED))
        if verdict.proven:
            what = f"signed receipts cover every coin that was settled, {covered}"
        else:
            what = f"receipts do not prove it: they cover {covered}"
        return f"one user verified the bill: {what}", verdict

    @asynccontextmanager
    async def _buyer(self, number: int) -> AsyncIterator[Buyer]:
        identity = await self._identity(number)
        with open_bill(self._directory / identity.file_name, identity) as bill:
            async with Buyer(self._user(number), identity, bill) as buyer:
                yield buyer

    async def _identity(self, number: int) -> BillIdentity:
        contract = (await AsyncNetwork(self._chain).service("inference")).address
        return BillIdentity(self._chain.chain_id, contract, self._provider.address, self._user(number).address)

    def _user(self, number: int) -> AsyncUser:
        return AsyncUser(self._chain, _signer(number))


def _signer(number: int) -> LocalSigner:
    return LocalSigner(development_keys()[number].to_bytes())


def _question(*, stream: bool = False) -> bytes:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 256}
    return json.dumps(asked | {"stream": stream}).encode()


def _tokens(receipt: Receipt) -> str:
    return count(receipt.input_tokens + receipt.output_tokens, "token")
