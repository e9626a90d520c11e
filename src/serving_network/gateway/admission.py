# SPDX-License-Identifier: Apache-2.0
"""Who may send a request, and whether their money covers it.

Free money is what the account holds, minus what was asked back, minus what is served and unsettled, minus what
requests under way have reserved. A reservation is made without a pause between reading and reserving, so the event loop
is the lock; it is given back when the row of the request is committed, so a coin is never free twice. If several
gateways share a store, each reserves from leases: see `store.leases`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Final, TypeVar

from serving_network.contracts.models import Account, Offer
from serving_network.counting import count
from serving_network.gateway.chain import ChainView
from serving_network.gateway.fees import FREE, Bounds, Reservation, Tariff, most, reserve
from serving_network.gateway.limits import Departures, Limits, Rate, RateLimiter
from serving_network.gateway.refusals import RequestRefused
from serving_network.messages.session_tokens import (
    InvalidToken,
    SessionToken,
    check_bearer,
    check_revocation,
    read_token,
)
from serving_network.store.intake import Intake

DRAIN_RETRY_SECONDS: Final = 30
READS_PER_MINUTE: Final = 1200
"""Requests of one user that cost nothing: for receipts, kept answers, signatures and what is not settled."""
NEWCOMERS_PER_MINUTE: Final = 240
"""Requests of all users together of whom neither an account nor a receipt is known."""

MAX_TOKENS_KEPT: Final = 1024

T = TypeVar("T", bound=Hashable)


class Hold:
    """A request under way: its place among those of its user, and later its reservation and the prices that it pays."""

    tariff: Tariff
    reservation: Reservation
    session: str

    def __init__(self, token: SessionToken, leave: Callable[[], None]) -> None:
        self.token = token
        self._held = [leave]

    def add(self, release: Callable[[], None]) -> None:
        """Give something more back at the end."""
        self._held.append(release)

    def release(self) -> None:
        """Give everything back. The second time does nothing."""
        while self._held:
            self._held.pop()()


class Admission:
    """Checks tokens and holds the reservations of requests under way. While `draining`, it admits no new ones."""

    def __init__(
        self,
        chain: ChainView,
        intake: Intake,
        signer: str,
        limits: Limits,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._chain = chain
        self._intake = intake
        self._signer = signer
        self._limits = limits
        self._clock = clock
        self._under_way: Counter[str] = Counter()
        self._of_key: Counter[tuple[str, int]] = Counter()
        self._rates = RateLimiter(limits)
        self._newcomers = Rate(NEWCOMERS_PER_MINUTE)
        self._reads = Rate(READS_PER_MINUTE)
        self._stopped: set[str] = set()
        # Recovering the signer costs as much as the rest of a request; what is read depends on the header alone.
        self._read_token = lru_cache(MAX_TOKENS_KEPT)(read_token)
        self.draining = False
        self.departures = Departures()

    @property
    def reserved(self) -> int:
        """The wei that requests under way have reserved."""
        return self._intake.money.reserved

    @property
    def under_way(self) -> int:
        """How many requests are under way."""
        return self._under_way.total()

    async def authenticate(self, header: str | None) -> SessionToken:
        """The token in an Authorization header. Raises InvalidToken and RequestRefused."""
        token = self._signed(header)
        self._reads.count(token.address, "You read more than")
        await self._account(token, self._check_token)
        return token

    async def admit(self, header: str | None) -> SessionToken:
        """The token of a user who may send paid requests now. Raises InvalidToken and RequestRefused."""
        self._check_not_draining()
        token = self._signed(header)
        self._rates.count(token)
        self._check_not_stopped(token.address)
        if not self._passes(token, self._check_paying):
            await self._account(token, self._check_paying)
        if self._is_confirmed(self._chain.fresh_service()):
            return token
        began = self._chain.now()
        if not await self._service_is_confirmed(None) and not await self._service_is_confirmed(began):
            raise RequestRefused(
                503,
                "signer_not_confirmed",
                "The contract's owner has not confirmed this gateway's TEE signer.",
                next_step=f"The owner does it with: serving signer confirm {self._chain.provider}",
            )
        return token

    def stop(self, user: str) -> bool:
        """Serve no more paid requests of a user who has receipts that the store lacks: they would get their sequences.

        It ends with the process, since the gateway must be stopped to take the receipts in. Returns whether it is new.
        """
        new = user not in self._stopped
        self._stopped.add(user)
        return new

    def enter(self, token: SessionToken) -> Hold:
        """A place for a request, before its body is read. Release it once its row is stored. Raises RequestRefused."""
        user, key = token.address, (token.address, token.token_id)
        limits = self._limits
        if self._under_way[user] and self.departures.are_many(user):
            raise _too_many("You left before several answers, so only one request at a time is served for a minute.")
        if self._under_way[user] >= limits.of_user:
            raise _too_many(f"You have {count(limits.of_user, 'request')} under way.")
        if limits.of_key is not None and self._of_key[key] >= limits.of_key:
            raise _too_many(f"This key has {count(limits.of_key, 'request')} under way.")
        if self.under_way >= limits.requests:
            raise RequestRefused(503, "overloaded", "The gateway serves as many requests as it can.")
        self._under_way[user] += 1
        self._of_key[key] += 1

        def leave() -> None:
            _lower(self._under_way, user, 1)
            _lower(self._of_key, key, 1)

        return Hold(token, leave)

    async def reserve(self, hold: Hold, bounds: Bounds) -> None:
        """Reserve the most that a request can cost. Raises InvalidToken and RequestRefused.

        The account is checked again: while a body arrives, keys are revoked and refunds requested.
        """
        began = self._chain.now()
        if not self._passes(hold.token, self._check_paying):
            await self._account(hold.token, self._check_paying)
        hold.tariff = FREE if self._limits.is_free(hold.token.address) else await self._chain.tariff()
        try:
            return await self._reserve(hold, bounds)
        except RequestRefused as refusal:
            if refusal.status != 402:
                raise
        await self._chain.account(hold.token.address, since=began)
        return await self._reserve(hold, bounds)

    async def _reserve(self, hold: Hold, bounds: Bounds) -> None:
        user, money = hold.token.address, self._intake.money
        if hold.tariff is not FREE:
            await money.secure(user, most(hold.tariff, bounds))
        self._check_not_draining()  # since the body was read, either may have begun
        self._check_not_stopped(user)
        free = money.free(user) if hold.tariff is not FREE else 0
        try:
            hold.reservation = reserve(hold.tariff, bounds, free, self._chain.provider)
        except RequestRefused:
            money.return_surplus(user)
            raise
        wei = hold.reservation.wei
        hold.session = money.take(user, wei)
        hold.add(lambda: money.give_back(user, wei))

    def _check_not_stopped(self, user: str) -> None:
        if user in self._stopped:
            raise receipts_missing(self._chain.provider)

    def _check_not_draining(self) -> None:
        if self.draining:
            raise RequestRefused(
                503,
                "draining",
                "This gateway is about to stop.",
                next_step="Try again in a minute.",
                retry_after=DRAIN_RETRY_SECONDS,
            )

    def _signed(self, header: str | None) -> SessionToken:
        """The token in a header, with a signature of its user. Reads nothing of the chain. Raises InvalidToken."""
        if not header:
            raise InvalidToken("The request has no Authorization header.")
        token, signer = self._read_token(header)
        check_bearer(token, signer, self._chain.provider, int(self._clock() * 1000))
        return token

    def _passes(self, token: SessionToken, check: Callable[[SessionToken, Account | None], None]) -> bool:
        """Whether a token passes a check against its account as it is known; otherwise, see `_account`."""
        account = self._chain.fresh_account(token.address)
        if account is None:
            return False
        try:
            check(token, account)
        except (InvalidToken, RequestRefused):
            return False
        return True

    async def _account(self, token: SessionToken, check: Callable[[SessionToken, Account | None], None]) -> None:
        """Check a token against its account, which is read once more before a refusal."""
        user = token.address
        if not self._chain.knows(user) and not self._intake.last_sequence(user):
            # Anybody can make keys and sign tokens with them; each of these accounts is read from the chain.
            self._newcomers.count("", "New users send more than")
        began = self._chain.now()
        try:
            check(token, await self._chain.account(token.address))
        except (InvalidToken, RequestRefused):
            check(token, await self._chain.account(token.address, since=began))

    def _check_paying(self, token: SessionToken, account: Account | None) -> None:
        self._check_token(token, account)
        if account is not None and not account.acknowledged and not self._limits.is_free(token.address):
            raise RequestRefused(
                403,
                "not_acknowledged",
                "You have not acknowledged this provider's TEE signer.",
                next_step=f"Acknowledge it: serving account acknowledge {account.provider}",
            )

    def _check_token(self, token: SessionToken, account: Account | None) -> None:
        """Check that a token is not revoked. Users who do not pay need no account: without one nothing is revoked."""
        if account is not None:
            check_revocation(token, account)
        elif not self._limits.is_free(token.address):
            raise RequestRefused(
                402,
                "no_account",
                f"{token.address} has no account with this provider.",
                next_step=f"Fund one: serving ledger fund {token.provider} AMOUNT",
            )

    async def signer_is_confirmed(self) -> bool | None:
        """Whether the owner has confirmed this gateway's signer; None if the chain does not answer."""
        if self._is_confirmed(self._chain.fresh_service()):
            return True
        try:
            return await self._service_is_confirmed(self._chain.now())
        except RequestRefused:
            return None

    async def _service_is_confirmed(self, since: float | None) -> bool:
        return self._is_confirmed(await self._chain.service(since=since))

    def _is_confirmed(self, service: tuple[Offer, bool] | None) -> bool:
        return service is not None and service[1] and service[0].tee_signer == self._signer


def receipts_missing(provider: str) -> RequestRefused:
    """The refusal of a user who has receipts that the store lacks."""
    return RequestRefused(
        503,
        "receipts_missing",
        "The gateway's store lacks receipts that you have; it was restored from a copy.",
        next_step=f"Send them to the provider: serving bill export {provider} FILE",
    )


def _too_many(message: str) -> RequestRefused:
    return RequestRefused(429, "too_many_requests", message, next_step="Try again.")


def _lower(counts: Counter[T], name: T, amount: int) -> None:
    counts[name] -= amount
    if not counts[name]:
        del counts[name]
