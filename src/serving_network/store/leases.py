# SPDX-License-Identifier: Apache-2.0
"""What requests under way have reserved, and what is free for others, seen from the event loop of a gateway.

The only gateway of a store reads what is free, and subtracts what it bills. One of several gateways reserves from
leases. A lease grows before a request that it does not cover, so most requests cost no round trip. A user who has
little money left gets just what a request can cost, and the lease shrinks again with its row. Users with plenty keep a
slice, which is returned when it was not used for a while, and whenever their account is read.

The lease here is what the database says, or less. After a failure it is not known, and set again to what is reserved.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from serving_network.store.lookups import Funds, Mined
from serving_network.store.sessions import Grant, Lowered, Sessions, Wish
from serving_network.store.writing import Kind, T, V

TRIES: Final = 5
FRESH: Final = 1.0
"""How many seconds the only gateway of a store trusts what it read of a user's money."""
MAX_KNOWN: Final = 10_000
PAUSE: Final = 0.05
"""Seconds until the next try, if other gateways have leases of the user. They return what they do not use."""


class Money:
    """Reservations by user, in wei."""

    def __init__(self) -> None:
        self._reserved: Counter[str] = Counter()

    @property
    def reserved(self) -> int:
        """The wei that requests under way have reserved."""
        return self._reserved.total()

    def take(self, user: str, wei: int) -> str:
        """Reserve. Returns the session in which that is leased; empty for the only gateway of a store."""
        self._reserved[user] += wei
        return ""

    def give_back(self, user: str, wei: int) -> None:
        """End a reservation."""
        self._reserved[user] -= wei
        if not self._reserved[user]:
            del self._reserved[user]


@dataclass
class _Known:
    """The free wei of a user, read when `billed` wei of the user's requests were stored."""

    free: int
    billed: int
    read_at: float


class LocalMoney(Money):
    """The money of the only gateway of a store.

    What is read counts for FRESH seconds, less what was billed since. Only this gateway bills, and a settlement lowers
    a balance by what it pays of the bills, so what is free changes by nothing else that this gateway does not store.
    """

    def __init__(
        self,
        funds: Callable[[str], tuple[Funds, int] | None],
        check: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._funds = funds
        self._check = check
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def free(self, user: str) -> int:
        """What can be reserved now. Raises JournalFailure while the store takes no rows."""
        self._check()
        now = self._clock()
        known = self._known.get(user)
        if known is None or now - known.read_at > FRESH:
            found = self._funds(user)
            if found is None:
                return 0
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[user] = _Known(found[0].free, found[1], now)
        return known.free - self._reserved[user]

    def bill(self, user: str, billed: int) -> None:
        """All of the user's requests that are stored now come to `billed` wei."""
        known = self._known.get(user)
        if known is not None and billed > known.billed:
            known.free -= billed - known.billed
            known.billed = billed

    def forget(self, user: str | None = None) -> None:
        """Read the money of a user, or of all, before it is used again."""
        if user is None:
            self._known.clear()
        else:
            self._known.pop(user, None)

    async def secure(self, user: str, wei: int) -> None:
        """Nothing to do: all free money is at hand."""

    def return_surplus(self, user: str) -> None:
        """Nothing to do: nothing is held that is not reserved."""


class Submit(Protocol):
    """How jobs reach the thread that writes."""

    def __call__(self, kind: Kind[V, T], value: V, *, user: str | None = None) -> asyncio.Future[T]: ...


@dataclass
class _Lease:
    """`waiting` is what requests need that wait for it to grow. `valid` is whether `wei` is known.

    It was asked to grow `grown` times. The last time, there was less than asked if `exhausted`, and others had leases
    of the user if `contended`.
    """

    wei: int = 0
    valid: bool = False
    plenty: bool = False
    waiting: int = 0
    used: bool = True
    grown: int = 0
    exhausted: bool = False
    contended: bool = False
    session: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class LeasedMoney(Money):
    """The money of one of several gateways."""

    def __init__(
        self, sessions: Sessions, submit: Submit, check: Callable[[], None], mined: Callable[[str], Mined]
    ) -> None:
        super().__init__()
        self._sessions = sessions
        self._submit = submit
        self._check = check
        self._mined = mined
        self._leases: dict[str, _Lease] = {}
        self._failures = 0

    def free(self, user: str) -> int:
        """What can be reserved now, without asking the database."""
        self._check()
        lease = self._leases.get(user)
        return self._surplus(user, lease) if lease is not None and lease.valid else 0

    def take(self, user: str, wei: int) -> str:
        super().take(user, wei)
        lease = self._leases.setdefault(user, _Lease())
        lease.used = True
        return lease.session

    def give_back(self, user: str, wei: int) -> None:
        super().give_back(user, wei)
        lease = self._leases.get(user)
        if lease is not None and not lease.plenty:
            self.return_surplus(user)

    async def secure(self, user: str, wei: int) -> None:
        """Grow the lease until so much is free, or nothing more is. Raises JournalFailure."""
        for _ in range(TRIES):
            if self.free(user) >= wei:
                return
            lease = self._leases.setdefault(user, _Lease())
            grown = lease.grown
            lease.waiting += wei
            try:
                async with lease.lock:
                    # It may have grown for this request, too, while another one waited.
                    if lease.grown == grown:
                        await self._grow(user, lease)
            finally:
                lease.waiting -= wei
            if self.free(user) >= wei or (lease.exhausted and not lease.contended):
                return
            if lease.exhausted:
                await asyncio.sleep(PAUSE)

    async def _grow(self, user: str, lease: _Lease) -> None:
        """Ask for what all waiting requests need."""
        failures = self._failures
        base = None if lease.valid else self._reserved[user]
        wish = Wish(user, lease.waiting - self.free(user), base, self._mined(user))
        if wish.wei <= 0:
            return
        lease.grown += 1
        try:
            grant: Grant = await self._submit(self._sessions.grow, wish, user=user)
        except BaseException:
            self.forget()
            raise
        lease.exhausted, lease.contended = grant.wei < wish.wei, grant.contended
        if failures == self._failures:
            lease.wei = (lease.wei if base is None else base) + grant.wei
            lease.valid = True
            lease.plenty = grant.plenty
            lease.session = grant.session

    def lowering(self, user: str, reserved: int, fee: int) -> int:
        """By how much the row of a request lowers the lease. Call `lowered` when it is stored."""
        lease = self._leases.get(user)
        return fee if lease is not None and lease.valid and lease.plenty else max(reserved, fee)

    def lowered(self, user: str, wei: int) -> None:
        """A row that lowers the lease is stored."""
        lease = self._leases.get(user)
        if lease is not None:
            lease.wei = max(0, lease.wei - wei)

    def return_surplus(self, user: str) -> None:
        """Return what is not reserved, without waiting for the commit."""
        lease = self._leases.get(user)
        if lease is None or not lease.valid or lease.waiting:
            return
        surplus = self._surplus(user, lease)
        if surplus > 0:
            lease.wei -= surplus
            self._submit(self._sessions.lower, Lowered(user, surplus)).add_done_callback(self._forget_failed)

    def return_idle(self) -> None:
        """Return what was not used since the last call."""
        for user, lease in list(self._leases.items()):
            if lease.used or self._reserved[user] or lease.waiting:
                lease.used = False
            elif lease.valid:
                self.return_surplus(user)
                del self._leases[user]
            else:
                del self._leases[user]
                reset = self._submit(self._sessions.grow, Wish(user, 0, 0, self._mined(user)), user=user)
                reset.add_done_callback(self._forget_failed)

    def forget(self) -> None:
        """After a failure: what is stored is not known, so no lease counts until it was set anew."""
        self._failures += 1
        for lease in self._leases.values():
            lease.valid = False

    def _forget_failed(self, future: asyncio.Future[Any]) -> None:
        if future.cancelled() or future.exception() is not None:
            self.forget()

    def _surplus(self, user: str, lease: _Lease) -> int:
        return lease.wei - self._reserved[user]
