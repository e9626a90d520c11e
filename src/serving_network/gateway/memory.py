# SPDX-License-Identifier: Apache-2.0
"""One budget for the memory of all requests under way: their bodies, and the answers that are read whole."""

from __future__ import annotations

from typing import Final

from serving_network.gateway.refusals import RequestRefused

DEFAULT_BUDGET: Final = 512 * 2**20


class Memory:
    """A budget in bytes."""

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        self._budget = budget
        self._used = 0

    @property
    def used(self) -> int:
        """The bytes that requests under way hold."""
        return self._used

    def share(self) -> Share:
        """An empty share for one request."""
        return Share(self)

    def _take(self, size: int) -> None:
        if self._used + size > self._budget:
            raise RequestRefused(
                503, "overloaded", "The gateway has no memory left for this request.", next_step="Try again."
            )
        self._used += size

    def _give_back(self, size: int) -> None:
        self._used -= size


class Share:
    """What one request holds of the budget."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._size = 0

    def grow(self, size: int) -> None:
        """Take more bytes. Raises RequestRefused with 503 if the budget is spent."""
        self._memory._take(size)
        self._size += size

    def free(self) -> None:
        """Give everything back. The second time does nothing."""
        self._memory._give_back(self._size)
        self._size = 0
