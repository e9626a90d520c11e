# SPDX-License-Identifier: Apache-2.0
"""The three lists that every account is on, through random openings and deletions."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.unit.inference.world import World

USERS = PROVIDERS = 4
Pair = tuple[str, str]


def pairs(world: World, listing: str, *party: str) -> list[Pair]:
    page, _ = world.serving.ask(listing, *party, 0, 0)
    return [(one["user"], one["provider"]) for one in page]


def leave(entries: list[Pair], pair: Pair) -> None:
    """The last entry moves into the gap."""
    place = entries.index(pair)
    last = entries.pop()
    if place < len(entries):
        entries[place] = last


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(toggles=st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, PROVIDERS - 1)), max_size=16))
# Opened, one gone from the front of each list, and then those that moved into the gaps.
@example(toggles=[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0, 1), (1, 0), (1, 1)])
@example(toggles=[(user, provider) for _ in range(2) for user in range(3) for provider in range(3)])
@example(toggles=[(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 0), (2, 0), (1, 0), (2, 1), (0, 0)])
# What a removal leaves behind past the end of the user's list is written over.
@example(toggles=[(0, 0), (0, 1), (0, 0), (0, 2), (1, 2), (0, 1), (0, 3)])
# An account that moved in its user's list, and then in its provider's, is the one that leaves.
@example(toggles=[(0, 0), (1, 1), (0, 1), (0, 0), (1, 1), (2, 1), (0, 1)])
def test_removals_move_the_last_entry_on_every_list(world: World, toggles: list[tuple[int, int]]) -> None:
    users = [world.evm.account(f"user {place}") for place in range(USERS)]
    providers = [world.evm.account(f"provider {place}") for place in range(PROVIDERS)]
    every: list[Pair] = []
    by_user: dict[str, list[Pair]] = {user: [] for user in users}
    by_provider: dict[str, list[Pair]] = {provider: [] for provider in providers}
    with world.evm.rolled_back():
        for user_place, provider_place in toggles:
            pair = user, provider = users[user_place], providers[provider_place]
            lists = (every, by_user[user], by_provider[provider])
            if pair in every:
                world.delete(user, provider)
                for entries in lists:
                    leave(entries, pair)
            else:
                world.open(user, provider, coins=0)
                for entries in lists:
                    entries.append(pair)
            assert pairs(world, "getAllAccounts") == every
            assert pairs(world, "getAccountsByUser", user) == by_user[user]
            assert pairs(world, "getAccountsByProvider", provider) == by_provider[provider]
            assert world.serving.ask("providersOf", user) == [provider for _, provider in by_user[user]]
