"""A listing that is read page by page, and that is whole or an error."""

from __future__ import annotations

from typing import Any

from serving_network.errors import NodeFailure


class Pages:
    """The entries of `function` as they come, all as of one block."""

    def __init__(self, function: str) -> None:
        self.entries: list[Any] = []
        self._function = function
        self._total: int | None = None
        self._last: list[Any] | None = None

    def add(self, page: list[Any], total: int, asked: int) -> bool:
        """Take a page for which `asked` entries were wanted; tells whether it was the last one.

        Raises NodeFailure when the pages do not fit together or end too early.
        """
        if self._total not in (None, total) or len(page) > asked or (page and page == self._last):
            raise NodeFailure(f"The node's pages of {self._function} do not fit together.")
        self._total, self._last = total, page
        self.entries += page
        if not page and len(self.entries) < total:
            raise NodeFailure(f"The node sent {len(self.entries)} of {total} entries of {self._function}.")
        return len(self.entries) >= total
