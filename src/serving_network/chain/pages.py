# SPDX-License-Identifier: Apache-2.0
"""Read a listing page by page: either completely, or with an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.contracts.errors import CallFailed, LimitTooLarge
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.errors import NodeFailure, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PAGE = 50


class Pages:
    """Collects the entries of `function`, all as of one block."""

    def __init__(self, function: str) -> None:
        self.entries: list[Any] = []
        self._function = function
        self._total: int | None = None
        self._last: list[Any] | None = None

    def add(self, page: list[Any], total: int, requested: int) -> bool:
        """Add a page for which `requested` entries were asked for. Returns whether it was the last one.

        Raises NodeFailure if the pages contradict each other or end too early.
        """
        if self._total not in (None, total) or len(page) > requested or (page and page == self._last):
            raise NodeFailure(f"The node's pages of {self._function} contradict each other.")
        self._total, self._last = total, page
        self.entries += page
        if not page and len(self.entries) < total:
            raise NodeFailure(f"The node sent {len(self.entries)} of {total} entries of {self._function}.")
        return len(self.entries) >= total


async def every_entry(function: str, ask: Callable[[int, int], Awaitable[tuple[list[Any], int]]]) -> list[Any]:
    """All entries of a paged view, where `ask(offset, limit)` returns a page and the total number of entries.

    A page that the node or the contract cannot return is requested in halves: the gas of a view is limited, and a page
    of ledgers whose users have many accounts can need more. Raises NodeFailure if the pages contradict each other.
    """
    pages, size = Pages(function), PAGE
    while True:
        try:
            page, total = await ask(len(pages.entries), size)
        except (RpcError, RevertedWithoutReason, CallFailed, LimitTooLarge):
            if size == 1:
                raise
            size //= 2
            continue
        if pages.add(page, total, size):
            return pages.entries
