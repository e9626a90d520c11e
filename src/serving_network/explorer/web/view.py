# SPDX-License-Identifier: Apache-2.0
"""What a page reads: the index in one state, and what is computed from all of it, once for each state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from serving_network.explorer.index.found import Tip
from serving_network.explorer.index.listing import Lists, UserRow
from serving_network.explorer.index.paid import Paid, ProviderStats
from serving_network.explorer.index.reading import IndexReader

T = TypeVar("T")


@dataclass
class Computed:
    """What was computed from one state of the index; forgotten when there is a newer one."""

    _state: tuple[int, int] = (-1, -1)
    _found: dict[str, Any] = field(default_factory=dict)
    _paid: Paid = field(default_factory=Paid)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def get(self, state: tuple[int, int], name: str, compute: Callable[[], T]) -> T:
        """The value of this name in a state, computed if it is not known."""
        with self._lock:
            if self._state != state:
                self._state, self._found = state, {}
            if name not in self._found:
                self._found[name] = compute()
            found: T = self._found[name]
            return found

    def paid(self, reader: IndexReader) -> Paid:
        """The sums of all settlements that a reader sees. For the computation of a value only, which is alone."""
        self._paid.update(reader)
        return self._paid


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
        """A value that takes long to compute from the whole index: again only after there were events."""
        newest = self.reader.rows("SELECT max(position) FROM event")[0][0]
        state = (-1 if newest is None else int(newest), self.tip.reorganisations)
        return self.computed.get(state, name, compute)

    def users(self) -> list[UserRow]:
        """Everyone who has a ledger or an account, or has paid."""
        return self.once("users", lambda: self.lists.users(self.computed.paid(self.reader)))

    def provider_stats(self) -> dict[tuple[str, str], ProviderStats]:
        """What each provider settled, by service and provider."""
        return self.once("provider stats", lambda: self.computed.paid(self.reader).providers())

    def accounts_by_provider(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """The number, the balances and the pending refunds of the accounts, by service and provider."""
        return self.once("accounts by provider", self.lists.accounts_by_provider)
