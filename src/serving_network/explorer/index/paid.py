# SPDX-License-Identifier: Apache-2.0
"""What every user paid and every provider was paid, in memory: read once, then only what the index adds.

A sum over all settlements takes half a second for 100,000 of them, so pages do not compute it for each block. After a
reorganisation everything is read again.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from serving_network.contracts.models import Status
from serving_network.explorer.index.positions import BLOCK_SQL

if TYPE_CHECKING:
    from serving_network.explorer.index.reading import IndexReader


class ProviderStats(NamedTuple):
    """What a provider settled in one service: `partial` of `accepted` rows were paid in part.

    `every` is the median of seconds between its batches, None for fewer than two.
    """

    accepted: int
    partial: int
    refused: int
    paid: int
    every: int | None
    last: int | None


class Paid:
    """The sums of one index. `update` brings them up to what a reader sees; one thread at a time."""

    def __init__(self) -> None:
        self._begin_again(0)

    def _begin_again(self, reorganisations: int) -> None:
        self._reorganisations = reorganisations
        self._position = -1
        self._users: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._providers: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        self._times: dict[tuple[str, str], list[int]] = defaultdict(list)

    def update(self, reader: IndexReader) -> None:
        """Add what was settled since."""
        reorganisations = reader.tip().reorganisations
        if reorganisations != self._reorganisations:
            self._begin_again(reorganisations)
        last = self._position
        batches = reader.rows(
            f"SELECT s.service, s.provider, b.time FROM batch s JOIN block b ON b.number = s.position {BLOCK_SQL}"
            " WHERE s.position > ? AND s.provider IS NOT NULL ORDER BY s.position",
            last,
        )
        for service, provider, time in batches:
            self._times[service, provider].append(time)
        rows = reader.rows(
            "SELECT position, service, provider, user_address, status, paid FROM settlement WHERE position > ?"
            " ORDER BY position",
            last,
        )
        for position, service, provider, user, status, paid in rows:
            self._position = position
            accepted = status <= Status.PARTIAL
            wei = int(paid)
            if accepted:
                of_user = self._users[user]
                of_user[0] += 1
                of_user[1] += wei
            if provider is not None:
                one = self._providers[service, provider]
                one[0] += accepted
                one[1] += status == Status.PARTIAL
                one[2] += not accepted
                one[3] += wei
        if batches:
            newest = reader.rows("SELECT max(position) FROM batch")[0][0]
            self._position = max(self._position, newest)

    def of_user(self, user: str) -> tuple[int, int]:
        """How many settlements of a user were accepted, and what they paid."""
        number, wei = self._users.get(user, (0, 0))
        return number, wei

    def users(self) -> list[str]:
        """Everyone who paid."""
        return list(self._users)

    def providers(self) -> dict[tuple[str, str], ProviderStats]:
        """What each provider settled, by service and provider."""
        found = {}
        for key, (accepted, partial, refused, paid) in self._providers.items():
            times = self._times.get(key, [])
            gaps = [after - before for before, after in pairwise(times)]
            every = int(median(gaps)) if gaps else None
            found[key] = ProviderStats(accepted, partial, refused, paid, every, times[-1] if times else None)
        return found
