# SPDX-License-Identifier: Apache-2.0
"""One budget for the memory of all requests under way: their bodies, and the answers that are read whole."""

from __future__ import annotations

from collections import Counter
from typing import Final

from serving_network.gateway.refusals import RequestRefused

DEFAULT_BUDGET: Final = 512 * 2**20


class Memory:
    """A budget in bytes."""

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._budget = budget
        self._used = 0
        self._of: Counter[str | None] = Counter()

    @property
    def used(self) -> int:
        """The bytes that requests under way hold."""
        return self._used

    def share(self, user: str | None = None) -> Share:
        """An empty share for one request, of a user if it is not the gateway's own."""
        return Share(self, user)

    def _take(self, user: str | None, size: int) -> None:
        """One user gets three quarters of the budget, so that others are served beside bodies that arrive slowly."""
        is_greedy = user is not None and self._of[user] + size > self._budget * 3 // 4
        if is_greedy or self._used + size > self._budget:
            raise RequestRefused(
                503, "overloaded", "The gateway has no memory left for this request.", next_step="Try again."
            )
        self._used += size
        self._of[user] += size

    def _give_back(self, user: str | None, size: int) -> None:
        self._used -= size
        self._of[user] -= size
        if not self._of[user]:
            del self._of[user]


class Share:
    """What one request holds of the budget."""

    def __init__(self, memory: Memory, user: str | None) -> None:
        self._memory = memory
        self._user = user
        self._size = 0

    def grow(self, size: int) -> None:
        """Take more bytes. Raises RequestRefused with 503 if the budget is spent."""
        self._memory._take(self._user, size)
        self._size += size

    def free(self) -> None:
        """Give everything back. The second time does nothing."""
        self._memory._give_back(self._user, self._size)
        self._size = 0
