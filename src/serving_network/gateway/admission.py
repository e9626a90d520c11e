# SPDX-License-Identifier: Apache-2.0
"""Who may send a request, and whether their money covers it.

Free money is what the account holds, minus what was asked back, minus what is served and unsettled, minus what
requests under way have reserved. A reservation is made without a pause between reading and reserving, so the event loop
is the lock; it is given back when the row of the request is committed, so a coin is never free twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from serving_network.contracts.models import Account
from serving_network.gateway.chain import ChainView
from serving_network.gateway.fees import Bounds, Reservation, Tariff, reserve
from serving_network.gateway.refusals import RequestRefused
from serving_network.messages.session_tokens import (
    InvalidToken,
    SessionToken,
    check_bearer,
    check_revocation,
    read_token,
)
from serving_network.store.intake import Intake


class Limits(NamedTuple):
    """How many requests are served at once, in all and for one user."""

    requests: int = 512
    of_user: int = 64


class Hold:
    """A reservation of a request under way, and the prices that it is billed at."""

    def __init__(self, tariff: Tariff, reservation: Reservation, release: Callable[[], None]) -> None:
        self.tariff = tariff
        self.reservation = reservation
        self.released = False
        self._release = release

    def release(self) -> None:
        """Give the reservation back. The second time does nothing."""
        if not self.released:
            self.released = True
            self._release()


class Admission:
    """Checks tokens and holds the reservations of requests under way."""

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
        self._reserved: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()

    @property
    def reserved(self) -> int:
        """The wei that requests under way have reserved."""
        return self._reserved.total()

    @property
    def under_way(self) -> int:
        """How many requests are under way."""
        return self._under_way.total()

    async def authenticate(self, header: str | None) -> SessionToken:
        """The token in an Authorization header. Raises InvalidToken and RequestRefused."""
        token, _ = await self._account_of(header, _check_token)
        return token

    async def admit(self, header: str | None) -> SessionToken:
        """The token of a user who may send paid requests now. Raises InvalidToken and RequestRefused."""
        token, _ = await self._account_of(header, self._check_paying)
        began = self._chain.now()
        if not await self._service_is_confirmed(None) and not await self._service_is_confirmed(began):
            raise RequestRefused(
                503,
                "signer_not_confirmed",
                "The contract's owner has not confirmed this gateway's TEE signer.",
                next_step=f"The owner does it with: serving signer confirm {self._chain.provider}",
            )
        return token

    async def reserve(self, user: str, bounds: Bounds) -> Hold:
        """Reserve the most that a request can cost. Release it once its row is stored. Raises RequestRefused."""
        began = self._chain.now()
        tariff = await self._chain.tariff()
        try:
            return self._reserve(user, tariff, bounds)
        except RequestRefused as refusal:
            if refusal.status != 402:
                raise
        await self._chain.account(user, since=began)
        return self._reserve(user, tariff, bounds)

    def _release(self, user: str, wei: int) -> None:
        for counts, amount in ((self._reserved, wei), (self._under_way, 1)):
            counts[user] -= amount
            if not counts[user]:
                del counts[user]

    def _reserve(self, user: str, tariff: Tariff, bounds: Bounds) -> Hold:
        if self._under_way[user] >= self._limits.of_user:
            raise RequestRefused(
                429, "too_many_requests", f"You have {self._limits.of_user} requests under way.", next_step="Try again."
            )
        if self.under_way >= self._limits.requests:
            raise RequestRefused(503, "overloaded", "The gateway serves as many requests as it can.")
        funds = self._intake.funds(user)
        free = funds.free - self._reserved[user] if funds else 0
        reservation = reserve(tariff, bounds, free, self._chain.provider)
        self._reserved[user] += reservation.wei
        self._under_way[user] += 1
        return Hold(tariff, reservation, lambda: self._release(user, reservation.wei))

    async def _account_of(
        self, header: str | None, check: Callable[[SessionToken, Account | None], Account]
    ) -> tuple[SessionToken, Account]:
        """The token and its account, read once more before a refusal."""
        if not header:
            raise InvalidToken("The request has no Authorization header.")
        token, signer = read_token(header)
        check_bearer(token, signer, self._chain.provider, int(self._clock() * 1000))
        began = self._chain.now()
        try:
            return token, check(token, await self._chain.account(token.address))
        except (InvalidToken, RequestRefused):
            return token, check(token, await self._chain.account(token.address, since=began))

    def _check_paying(self, token: SessionToken, account: Account | None) -> Account:
        account = _check_token(token, account)
        if not account.acknowledged:
            raise RequestRefused(
                403,
                "not_acknowledged",
                "You have not acknowledged this provider's TEE signer.",
                next_step=f"Acknowledge it: serving account acknowledge {account.provider}",
            )
        return account

    async def _service_is_confirmed(self, since: float | None) -> bool:
        offer, confirmed = await self._chain.service(since=since)
        return confirmed and offer.tee_signer == self._signer


def _check_token(token: SessionToken, account: Account | None) -> Account:
    if account is None:
        raise RequestRefused(
            402,
            "no_account",
            f"{token.address} has no account with this provider.",
            next_step=f"Fund one: serving ledger fund {token.provider} AMOUNT",
        )
    check_revocation(token, account)
    return account
