# SPDX-License-Identifier: Apache-2.0
"""Read a listing page by page: either completely, or with an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from serving_network.contracts.errors import CallFailed, LimitTooLarge
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.errors import NodeFailure, NodeUnreachable, RpcError, ServingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

PAGE = 50
PAGES_AHEAD: Final = 1_000
"""A node that reports a wrong total is asked for no more."""
_TOO_LARGE: Final = (RpcError, RevertedWithoutReason, CallFailed, LimitTooLarge)

Page = tuple[list[Any], int]
"""Entries, and how many there are in total."""


class Pages:
    """Checks the pages of `function`, all as of one block, and counts their entries."""

    def __init__(self, function: str) -> None:
        self.entries = 0
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
        self.entries += len(page)
        if not page and self.entries < total:
            raise NodeFailure(f"The node sent {self.entries} of {total} entries of {self._function}.")
        return self.entries >= total


Ask = Callable[[int, int], "Awaitable[Page]"]
AskTogether = Callable[[list[int], int], "Awaitable[list[Page | ServingError]]"]


async def every_page(
    function: str, ask: Ask, ask_together: AskTogether | None = None, pages_ahead: int = PAGES_AHEAD
) -> AsyncIterator[list[Any]]:
    """All pages of a paged view, where `ask(offset, limit)` returns a page and the total number of entries.

    Once the total is known, `ask_together(offsets, limit)` returns the other pages, up to `pages_ahead` at once, with
    an error for one that failed. A page that the node or the contract cannot return is requested in halves: the gas of
    a view is limited, and a page of ledgers whose users have many accounts can need more. Raises NodeFailure if the
    pages contradict each other.
    """
    pages, size = Pages(function), PAGE
    ahead: dict[int, Page | ServingError] = {}
    while True:
        offset = pages.entries
        requested, found = PAGE, ahead.pop(offset, None)
        if found is None or isinstance(found, ServingError):
            requested = min([size, *(other - offset for other in ahead if other > offset)])
            try:
                found = await ask(offset, requested)
            except _TOO_LARGE:
                if size == 1:
                    raise
                size = max(1, requested // 2)
                continue
        last = pages.add(*found, requested)
        yield found[0]
        if last:
            return
        if not ahead and ask_together is not None:
            offset = pages.entries
            offsets = range(offset, min(found[1], offset + pages_ahead * PAGE), PAGE)
            try:
                ahead = dict(zip(offsets, await ask_together(list(offsets), PAGE), strict=True))
            except (NodeUnreachable, RpcError):
                ask_together = None  # perhaps the node answers smaller requests
