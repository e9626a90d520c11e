# SPDX-License-Identifier: Apache-2.0
"""What a gateway knows of the chain: its own service, and the accounts of users who showed a valid token.

Events of the contract make what they change be read again at once: see `watch`. Everything is read again after FRESH
seconds, since a user's acknowledgement has no event, and once more before a refusal. Active users do not wait for that:
see `read_ahead`. If the node does not answer, requests are served from what is known for STALE seconds, and refused
with 503 after that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Final, Generic, TypeVar

from serving_network.clients.read.events import Event, event_stream
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.settled import SettledReader
from serving_network.contracts.models import Account, Offer
from serving_network.errors import ContractError, NodeFailure, ServingError
from serving_network.gateway.fees import Tariff
from serving_network.gateway.refusals import RequestRefused
from serving_network.messages.prices import Prices, cached_divisor
from serving_network.settlement.following import REORG_WINDOW
from serving_network.store.intake import Intake

FRESH: Final = 15.0
STALE: Final = 30.0
READ_SECONDS: Final = 10.0
MAX_ACCOUNTS: Final = 100_000
AHEAD_SECONDS: Final = 6.0
"""Seconds between reads of what active users need."""
ACTIVE: Final = 300.0
"""Seconds after a request in which its user counts as active."""
AHEAD_USERS: Final = 1_000
"""The accounts that are read ahead at most: those of the users who sent the latest requests."""
STORED_TOGETHER: Final = 32
"""The accounts that are stored without a pause for other requests."""
EVENT_SECONDS: Final = 4.0
"""Seconds between requests for new events. Half of it is the usual delay until a refund or a revocation counts."""

_LOG = logging.getLogger("serving_network.gateway")

T = TypeVar("T")


@dataclass
class _Known(Generic[T]):
    """A value, when its newest read was started, and when a request needed it. The lock keeps equal reads from running
    side by side."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    read_at: float = float("-inf")
    used_at: float = float("-inf")
    value: T | None = None


class ChainView:
    """The service of one provider, and the accounts of its users."""

    def __init__(
        self,
        network: AsyncNetwork,
        provider: str,
        service: str,
        intake: Intake,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.provider = provider
        self._network = network
        self._service_name = service
        self._intake = intake
        self._clock = clock
        self._accounts: OrderedDict[str, _Known[Account]] = OrderedDict()
        self._service: _Known[tuple[Offer, bool]] = _Known()
        self._tariff: tuple[Offer, Tariff] | None = None

    def now(self) -> float:
        """A time for `since`."""
        return self._clock()

    def knows(self, user: str) -> bool:
        """Whether the user had an account when it was last read."""
        known = self._accounts.get(user)
        return known is not None and known.value is not None

    def fresh_account(self, user: str) -> Account | None:
        """The user's account, if it is known and need not be read again."""
        known = self._accounts.get(user)
        if known is None:
            return None
        self._use(user, known)
        return known.value if self._is_fresh(known, None) else None

    async def account(self, user: str, *, since: float | None = None) -> Account | None:
        """The user's account, None if there is none. Its balance is in the intake. With `since`, read after it."""
        known = self._accounts.get(user)
        if known is None:
            known = self._accounts[user] = _Known()
            while len(self._accounts) > MAX_ACCOUNTS:
                self._accounts.popitem(last=False)
        self._use(user, known)
        if self._is_fresh(known, since):
            return known.value
        return await self._get(known, lambda: self._read_account(user), since)

    def fresh_service(self) -> tuple[Offer, bool] | None:
        """What `service` returns, if it is known and need not be read again."""
        return self._service.value if self._is_fresh(self._service, None) else None

    async def service(self, *, since: float | None = None) -> tuple[Offer, bool]:
        """The provider's offer, and whether the owner confirmed its signer. Raises RequestRefused with 503."""
        found = self._service.value
        if not self._is_fresh(self._service, since):
            found = await self._get(self._service, self._read_service, since)
        if found is None:
            raise RequestRefused(503, "no_service", "The provider has no registered service.")
        return found

    async def tariff(self) -> Tariff:
        """The prices in force."""
        offer, _ = self.fresh_service() or await self.service()
        if self._tariff is None or self._tariff[0] is not offer:
            prices = Prices(offer.input_price, offer.output_price, cached_divisor(offer.additional_info))
            self._tariff = offer, Tariff(prices)
        return self._tariff[1]

    async def watch(self) -> None:
        """Follow the contract's events until cancelled. A failure is logged, and what is known grows old as usual."""
        while True:
            try:
                contract = (await self._network.service(self._service_name)).contract
                start = await self._network.chain.block_number()
                async for event in event_stream(self._network.chain, [contract], start, None, 0, EVENT_SECONDS):
                    await self._follow(event)
            except ServingError as failure:
                _LOG.warning("events are not followed: %s", failure)
                await asyncio.sleep(EVENT_SECONDS)

    async def read_ahead(self) -> None:
        """Read what the requests of active users need before it grows old, until cancelled."""
        while True:
            await asyncio.sleep(AHEAD_SECONDS)
            active = list(islice(filter(self.knows, self._active()), AHEAD_USERS))
            if active:
                # Otherwise what is known grows old as usual.
                with suppress(ServingError, TimeoutError):
                    await self._read_accounts(active)

    def _active(self) -> Iterator[str]:
        """The users who sent a request lately, the last one first."""
        since = self._clock() - ACTIVE
        return takewhile(lambda user: self._accounts[user].used_at >= since, reversed(self._accounts))

    async def _read_accounts(self, users: list[str]) -> None:
        """Read the service, and the accounts of many users in one request."""
        began = self._clock()
        async with asyncio.timeout(READ_SECONDS):
            await self.service(since=began)
            block = await self._network.chain.block_number()
            found = await self._network.accounts_with(self.provider, users, self._service_name, block=block)
        for start in range(0, len(users), STORED_TOGETHER):
            part = users[start : start + STORED_TOGETHER]
            await asyncio.gather(*(self._take(user, found.get(user), block, began) for user in part))

    async def _take(self, user: str, account: Account | None, block: int, began: float) -> None:
        """Store an account and know it, unless a newer read has begun.

        While a settlement of the user waits to be booked, what it paid must be read as well: the next request does it.
        """
        known = self._accounts.get(user)
        if known is None or (account is not None and self._intake.unbooked_since(user, account.nonce) is not None):
            return
        async with known.lock:
            if known.read_at < began:
                await self._store(user, account, block)
                known.value, known.read_at = account, began

    def _use(self, user: str, known: _Known[Account]) -> None:
        known.used_at = self._clock()
        self._accounts.move_to_end(user)

    async def _follow(self, event: Event) -> None:
        """Read again what an event changes. A settlement row has no provider, so it counts for every provider's."""
        provider = event.args.get("provider", event.args.get("service", self.provider))
        if provider != self.provider:
            return
        user = event.args.get("user")
        if user is None:
            self._service.read_at = float("-inf")
        elif user in self._accounts or self._intake.funds(user) is not None:
            with suppress(RequestRefused):
                await self.account(user, since=self.now())

    async def _get(self, known: _Known[T], read: Callable[[], Awaitable[T | None]], since: float | None) -> T | None:
        async with known.lock:
            if self._is_fresh(known, since):
                return known.value
            began = self._clock()
            try:
                async with asyncio.timeout(READ_SECONDS):
                    known.value = await read()
            except (NodeFailure, ContractError, TimeoutError) as error:
                if began - known.read_at <= STALE:
                    return known.value
                raise RequestRefused(
                    503, "chain_unavailable", "The chain does not answer.", next_step="Try again in a minute."
                ) from error
            known.read_at = began
            return known.value

    def _is_fresh(self, known: _Known[T], since: float | None) -> bool:
        return self._clock() - known.read_at <= FRESH and (since is None or known.read_at >= since)

    async def _read_account(self, user: str) -> Account | None:
        block = await self._network.chain.block_number()
        found = await self._network.accounts_with(self.provider, [user], self._service_name, block=block)
        account = found.get(user)
        await self._store(user, account, block)
        return account

    async def _store(self, user: str, account: Account | None, block: int) -> None:
        """Store a user's money as it was at a block."""
        if account is not None:
            mined = await self._mined(user, account.nonce, block)
            await self._intake.set_balance(user, account.balance, account.pending_refund, block, account.nonce, mined)
        elif self._intake.funds(user) is not None:
            await self._intake.set_balance(user, 0, 0, block)

    async def _mined(self, user: str, nonce: int, block: int) -> int:
        """What the settlement with this nonce paid, if it is not booked yet. It can be less than was expected."""
        since = self._intake.unbooked_since(user, nonce)
        if since is None:
            return 0
        contract = (await self._network.service(self._service_name)).contract
        reader = SettledReader(self._network.chain, contract, self.provider)
        found = await reader.of_users([user], max(0, since - REORG_WINDOW), block)
        return sum(one.outcome.paid for one in found if one.settlement is not None and one.settlement.nonce == nonce)

    async def _read_service(self) -> tuple[Offer, bool] | None:
        found = await self._network.offer(self.provider, self._service_name)
        return (found.offer, found.confirmed) if found is not None and isinstance(found.offer, Offer) else None
