# SPDX-License-Identifier: Apache-2.0
"""Who sends too much: requests per minute, of a user, a key or an address; who leaves too often; and who is blocked.

Requests per minute are limited by the generic cell rate algorithm: a user who paused can send a minute's requests at
once, and is then held to the average. It needs one number for a user, the time at which all of the allowance is back.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from serving_network.gateway.memory import DEFAULT_BUDGET
from serving_network.gateway.refusals import RequestRefused
from serving_network.messages.session_tokens import SessionToken

MAX_KNOWN: Final = 100_000
"""Users whose rate is known; the one who was seen longest ago is forgotten."""
MAX_DEPARTURES: Final = 3
"""A user who left so often in a minute has one request at a time."""


class Limits(NamedTuple):
    """How much is served. Requests at once: in all, of a user, of a key. Requests per minute: of a user, of a key.

    `blocked` and `free` are addresses of users in lower case; free ones do not pay. `memory` is in bytes. A limit that
    is None does not apply.
    """

    requests: int = 512
    of_user: int = 64
    of_key: int | None = None
    user_rate: int | None = 600
    key_rate: int | None = None
    blocked: frozenset[str] = frozenset()
    memory: int = DEFAULT_BUDGET
    free: frozenset[str] = frozenset()

    def is_free(self, user: str) -> bool:
        """Whether this user is served without payment."""
        return bool(self.free) and user.lower() in self.free


class RateLimiter:
    """Counts the requests of users and keys."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._users = Rate(limits.user_rate, clock)
        self._keys = Rate(limits.key_rate, clock)

    def count(self, token: SessionToken) -> None:
        """Count a paid request. Raises RequestRefused with 403 for a blocked user, and with 429."""
        if token.address.lower() in self._limits.blocked:
            raise RequestRefused(403, "blocked", "This provider does not serve you.")
        self._users.count(token.address, "You send more than")
        self._keys.count((token.address, token.token_id), "This key sends more than")


class Departures:
    """Users who left before their answer, which is generated all the same: the third in a minute costs patience."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, user: str) -> None:
        """Count a user's departure."""
        self._left.setdefault(user, deque(maxlen=MAX_DEPARTURES)).append(self._clock())
        self._left.move_to_end(user)
        if len(self._left) > MAX_KNOWN:
            self._left.popitem(last=False)

    def are_many(self, user: str) -> bool:
        """Whether a user left too often in the last minute."""
        left = self._left.get(user)
        return left is not None and len(left) == MAX_DEPARTURES and self._clock() - left[0] < 60


class Rate:
    """A limit of requests per minute for each sender."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._restored: OrderedDict[Hashable, float] = OrderedDict()

    def count(self, sender: Hashable, who: str) -> None:
        """Count a request. Raises RequestRefused with 429, which begins with `who`, such as "You send more than"."""
        if self._per_minute is None:
            return
        now = self._clock()
        seconds = 60 / self._per_minute
        restored = max(self._restored.get(sender, now), now) + seconds
        if (wait := restored - now - 60) > 1e-6:
            raise RequestRefused(
                429,
                "rate_limit_exceeded",
                f"{who} {self._per_minute} requests per minute.",
                next_step=f"Try again in {math.ceil(wait)} s.",
                retry_after=math.ceil(wait),
            )
        self._restored[sender] = restored
        self._restored.move_to_end(sender)
        if len(self._restored) > MAX_KNOWN:
            self._restored.popitem(last=False)
