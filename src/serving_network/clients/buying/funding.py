# SPDX-License-Identifier: Apache-2.0
"""Keep an account with a provider topped up, within a limit.

A tenth of the limit is kept free, and moved at a time. All that is moved in one run counts against the limit, whatever
the provider reports; it stays the user's until it is settled.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from serving_network.clients.bills.fetching import ProviderFailure, get_json
from serving_network.errors import ServingError, TransactionPending
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.clients.buying.purchase import Buyer

CHECK_SECONDS: Final = 10.0
PARTS: Final = 10


class LimitReached(ServingError):
    """The account needs more than the limit allows."""

    exit_code = 9


class Funding:
    """Tops up the account of a buyer. `limit` is in wei; with 0 nothing is ever moved."""

    def __init__(self, buyer: Buyer, limit: int) -> None:
        self._buyer = buyer
        self._limit = limit
        self._lock = asyncio.Lock()
        self._checked = -CHECK_SECONDS
        self.moved = 0

    async def keep(self) -> None:
        """Top up if a tenth of the limit is no longer free; the account is looked at every CHECK_SECONDS."""
        async with self._lock:
            if self._limit and time.monotonic() - self._checked >= CHECK_SECONDS:
                if await self._free() < self._limit // PARTS and self.moved < self._limit:
                    await self._move()
                self._checked = time.monotonic()

    async def add(self) -> None:
        """Top up because a request was refused for lack of funds. Raises LimitReached."""
        before = self.moved
        async with self._lock:
            if self.moved == before:  # else another request has just topped up
                await self._move()

    async def _free(self) -> int:
        """What can be spent; -1 without an account that acknowledges the signer, so that it is funded."""
        buyer = self._buyer
        account = await buyer.user.account(buyer.user.address, buyer.identity.provider, buyer.service)
        if account is None or not account.acknowledged:
            return -1
        return account.spendable - await self._unsettled()

    async def _unsettled(self) -> int:
        """What the provider says is served and not settled; 0 if it does not say so."""
        buyer = self._buyer
        url = f"{(await buyer.offer()).url}/v1/user/{buyer.user.address}/unsettledfee"
        try:
            content = await get_json(buyer.http, url, await buyer.authorization())
            return int(content["unsettledFee"])
        except (ProviderFailure, ValueError, KeyError, TypeError):
            return 0

    async def _move(self) -> None:
        buyer = self._buyer
        left = self._limit - self.moved
        _, minimum = await buyer.user.minimums()
        account = await buyer.user.account(buyer.user.address, buyer.identity.provider, buyer.service)
        amount = min(max(self._limit // PARTS, minimum if account is None else 1), left)
        if amount <= 0 or (account is None and amount < minimum):
            raise LimitReached(
                f"The account with {buyer.identity.provider} needs more than the limit allows.",
                cause=f"{describe(self.moved)} of {describe(self._limit)} are moved."
                if self._limit
                else "No limit was set, so nothing is moved.",
                next_step=f"Run again with a higher --limit, or fund it: serving ledger fund {buyer.identity.provider}"
                " AMOUNT",
            )
        self.moved += amount
        try:
            await buyer.user.fund(buyer.identity.provider, amount, buyer.service)
        except TransactionPending:
            raise  # it can still take effect, so it counts against the limit
        except ServingError:
            self.moved -= amount
            raise
