# SPDX-License-Identifier: Apache-2.0
"""Three weeks before the example's day: three more providers, whose users, prices and settlements change over time.

`serving demo --explore` plays it, so that there is something to look at. Every run does the same.
"""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import sha256
from typing import Final

from serving_network.addresses import to_checksum_address
from serving_network.chain.connection import AsyncConnection
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.user import AsyncUser
from serving_network.contracts.models import Offer
from serving_network.counting import count
from serving_network.localchain.accounts import development_keys
from serving_network.messages.typed_data import TEESettlementBatch, UserSettlement
from serving_network.money import WEI_PER_COIN, describe
from serving_network.wallet.local import LocalSigner, LocalTeeSigner

DAYS: Final = 21
USERS: Final = 18
_DAY: Final = 86_400
_OWNER: Final = 0
_PROVIDERS: Final = {6: ("qwen-3-235b", 3), 7: ("deepseek-v3", 5), 8: ("whisper-large", 1)}
"""The development account of each provider, its model, and its price in 10^12 wei per token."""
_UNCONFIRMED: Final = 8
_PRICE_CHANGES: Final = {6: 80, 9: 65, 15: 90}
"""The days on which the first provider changes its prices, and to how many percent of the first ones."""
_GAS: Final = 400_000
_SEED: Final = 20261101


class History:
    """The participants: what they do before the example begins."""

    def __init__(self, chain: AsyncConnection) -> None:
        self._chain = chain
        self._chance = random.Random(_SEED)  # noqa: S311 - reproducible
        self._owner = AsyncOwner(chain, _signer(_OWNER))
        self._providers = {number: AsyncProvider(chain, _signer(number)) for number in _PROVIDERS}
        self._users = [AsyncUser(chain, LocalSigner(_key(number)), gas=_GAS) for number in range(USERS)]

    async def play(self) -> str:
        """All of it. Returns a sentence that says what was done."""
        offers = await self._register()
        await self._fund()
        paid = 0
        for day in range(1, DAYS + 1):
            if day in _PRICE_CHANGES:
                await self._change_prices(6, offers[6], _PRICE_CHANGES[day])
            for number in _PROVIDERS:
                if number != _UNCONFIRMED and (number == 6 or day % 2):
                    paid += await self._settle(number, day)
            await self._chain.rpc("evm_increaseTime", [_DAY])
        await self._users[4].retrieve([self._providers[7].address])
        settled = count(USERS, "user")
        return f"{len(_PROVIDERS)} more providers: {settled} paid {describe(paid)} in {DAYS} days"

    async def _register(self) -> dict[int, Offer]:
        offers = {}
        for number, (model, price) in _PROVIDERS.items():
            tee = to_checksum_address(_tee(number).address)
            kind = "speech-to-text" if number == _UNCONFIRMED else "chatbot"
            url = f"https://provider-{number}.example/v1"
            offers[number] = Offer(kind, url, model, "TeeML", price * 10**12, 3 * price * 10**12, "{}", tee)
            await self._providers[number].register(offers[number])
            if number != _UNCONFIRMED:
                await self._owner.confirm(self._providers[number].address, signer=tee)
        return offers

    async def _fund(self) -> None:
        for place, user in enumerate(self._users):
            await self._chain.rpc("anvil_setBalance", [user.address, hex(100 * WEI_PER_COIN)])
            await user.open_ledger((6 + place % 5) * WEI_PER_COIN)
            for number in (6, 7) if place % 3 else (6,):
                await user.fund(self._providers[number].address, (1 + place % 3) * WEI_PER_COIN)

    async def _change_prices(self, number: int, first: Offer, percent: int) -> None:
        input_price, output_price = first.input_price * percent // 100, first.output_price * percent // 100
        await self._providers[number].update(replace(first, input_price=input_price, output_price=output_price))

    async def _settle(self, number: int, day: int) -> int:
        """One batch of a provider. Returns what it was paid, in wei: users whose balance is low pay a part."""
        provider = self._providers[number]
        users = [user for place, user in enumerate(self._users) if number == 6 or place % 3]
        chosen = self._chance.sample(users, k=min(len(users), 5 + day % 6))
        rows = [
            UserSettlement(
                user.address,
                self._chance.randrange(20, 280) * 10**15,
                day,
                sha256(f"{number} {day} {user.address}".encode()).digest(),
            )
            for user in chosen
        ]
        contract = (await provider.service()).address
        message = TEESettlementBatch(provider.address, rows)
        signature = _tee(number).sign_typed(message, self._chain.chain_id, contract)
        return sum(one.paid for one in await provider.settle_batch(rows, signature))


def _signer(number: int) -> LocalSigner:
    return LocalSigner(development_keys()[number].to_bytes())


def _tee(number: int) -> LocalTeeSigner:
    return LocalTeeSigner(sha256(b"serving-network example TEE key %d" % number).digest())


def _key(number: int) -> bytes:
    """A user's key. Anybody can compute it, so it must only be used on a local chain."""
    return sha256(b"serving-network history user %d" % number).digest()
