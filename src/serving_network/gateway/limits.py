# SPDX-License-Identifier: Apache-2.0
"""Who sends too much: requests per minute and at once, of a user and of one of their keys; and who is blocked.

Requests per minute are limited by the generic cell rate algorithm: a user who paused can send a minute's requests at
once, and is then held to the average. It needs one number for a user, the time at which all of the allowance is back.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from serving_network.gateway.memory import DEFAULT_BUDGET
from serving_network.gateway.refusals import RequestRefused
from serving_network.messages.session_tokens import SessionToken

MAX_KNOWN: Final = 100_000
"""Users whose rate is known; the one who was seen longest ago is forgotten."""


class Limits(NamedTuple):
    """How much is served. Requests at once: in all, of a user, of a key. Requests per minute: of a user, of a key.

    `blocked` are addresses of users in lower case, `memory` is in bytes. A limit that is None does not apply.
    """

    requests: int = 512
    of_user: int = 64
    of_key: int | None = None
    user_rate: int | None = 600
    key_rate: int | None = None
    blocked: frozenset[str] = frozenset()
    memory: int = DEFAULT_BUDGET


class RateLimiter:
    """Counts the requests of users and keys."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._users = _Rate(limits.user_rate, clock)
        self._keys = _Rate(limits.key_rate, clock)

    def count(self, token: SessionToken) -> None:
        """Count a paid request. Raises RequestRefused with 403 for a blocked user, and with 429."""
        if token.address.lower() in self._limits.blocked:
            raise RequestRefused(403, "blocked", "This provider does not serve you.")
        self._users.count(token.address, "You send")
        self._keys.count((token.address, token.token_id), "This key sends")


class _Rate:
    """So many requests per minute for each sender."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._restored: OrderedDict[Hashable, float] = OrderedDict()

    def count(self, sender: Hashable, who: str) -> None:
        if self._per_minute is None:
            return
        now = self._clock()
        seconds = 60 / self._per_minute
        restored = max(self._restored.get(sender, now), now) + seconds
        if (wait := restored - now - 60) > 1e-6:
            raise RequestRefused(
                429,
                "rate_limit_exceeded",
                f"{who} more than {self._per_minute} requests per minute.",
                next_step=f"Try again in {math.ceil(wait)} s.",
                retry_after=math.ceil(wait),
            )
        self._restored[sender] = restored
        self._restored.move_to_end(sender)
        if len(self._restored) > MAX_KNOWN:
            self._restored.popitem(last=False)
