# SPDX-License-Identifier: Apache-2.0
"""What a page reads: the index in one state, and what is computed from all of it, once for each state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from serving_network.explorer.index.found import Tip
from serving_network.explorer.index.listing import Lists
from serving_network.explorer.index.reading import IndexReader

T = TypeVar("T")


@dataclass
class Computed:
    """What was computed from one state of the index; forgotten when there is a newer one."""

    _state: str = ""
    _found: dict[str, Any] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def get(self, state: str, name: str, compute: Callable[[], T]) -> T:
        """The value of this name in a state, computed if it is not known."""
        with self._lock:
            if self._state != state:
                self._state, self._found = state, {}
            if name not in self._found:
                self._found[name] = compute()
            found: T = self._found[name]
            return found


@dataclass(frozen=True)
class View:
    """The index in one state, for one request. `addresses` are the addresses of the reader's address book, by name."""

    reader: IndexReader
    lists: Lists
    tip: Tip
    computed: Computed
    addresses: Mapping[str, str]

    @property
    def now(self) -> int:
        """The time of the last block that was read, in seconds since 1970: a local chain has a time of its own."""
        return self.tip.time

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """A value that takes long to compute from the whole index."""
        return self.computed.get(f"{self.tip.block}-{self.tip.hash}", name, compute)
