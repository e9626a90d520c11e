# SPDX-License-Identifier: Apache-2.0
"""getAllAccounts, getAccountsByProvider, getAccountsByUser, getBatchAccountsByUsers"""

from typing import Any

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.inference.world import World

NOBODY = "0x" + "00" * 20
NODE_GAS = 30_000_000
NOTHING = {
    "user": NOBODY,
    "provider": NOBODY,
    "nonce": 0,
    "balance": 0,
    "pendingRefund": 0,
    "refunds": [],
    "additionalInfo": "",
    "acknowledged": False,
    "validRefundsLength": 0,
    "generation": 0,
    "revokedBitmap": 0,
}


@pytest.fixture
def pairs(world: World) -> list[tuple[str, str]]:
    """53 accounts of 3 users with 18 providers, in the order in which they were opened."""
    users = [world.evm.account(f"user {place}") for place in range(3)]
    providers = [world.evm.account(f"provider {place}") for place in range(18)]
    made = [(user, provider) for provider in providers for user in users][:53]
    for place, (user, provider) in enumerate(made):
        world.open(user, provider, coins=place, info="x" * (place * 7 % 40))
    return made


def listings(world: World, pairs: list[tuple[str, str]]) -> list[tuple[str, tuple[str, ...], list[tuple[str, str]]]]:
    user, provider = pairs[1]
    return [
        ("getAllAccounts", (), pairs),
        ("getAccountsByProvider", (provider,), [pair for pair in pairs if pair[1] == provider]),
        ("getAccountsByUser", (user,), [pair for pair in pairs if pair[0] == user]),
        ("getAccountsByUser", (world.stranger,), []),
        ("getAccountsByProvider", (user,), []),
    ]


def test_pages_in_the_order_of_opening(world: World, serving: Contract, pairs: list[tuple[str, str]]) -> None:
    every = {pair: world.account(*pair) for pair in pairs}
    assert [account["balance"] for account in every.values()] == list(range(53))
    for listing, party, expected in listings(world, pairs):
        for offset in (0, 1, 17, 50, 52, 53, 54, 2**255, 2**256 - 1):
            for limit in (0, 1, 7, 50):
                page, total = serving.ask(listing, *party, offset, limit)
                assert total == len(expected)
                assert page == [every[pair] for pair in expected[offset : offset + (limit or 50)]]


@pytest.mark.parametrize("listing", ["getAllAccounts", "getAccountsByProvider", "getAccountsByUser"])
def test_a_limit_has_a_limit(serving: Contract, user: str, listing: str) -> None:
    party = [] if listing == "getAllAccounts" else [user]
    for offset in (0, 2**256 - 1):
        for limit in (51, 2**256 - 1):
            assert serving.refused(listing, *party, offset, limit, sender=user) == error(
                "LimitTooLarge", limit=limit, max=50
            )


class TestBatchByUsers:
    def ask(self, world: World, users: list[str], **options: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = world.serving.ask(
            "getBatchAccountsByUsers", users, sender=world.provider, **options
        )
        return found

    @pytest.mark.usefixtures("confirmed")
    def test_the_callers_accounts_in_the_order_of_the_users(
        self, world: World, user: str, stranger: str, second: str
    ) -> None:
        world.open(info="info")
        world.open(stranger, coins=COIN)
        world.request(stranger)
        world.open(second, coins=0)
        world.settle(world.fee())
        world.close(second)
        world.serving.send("revokeAllTokens", world.provider, sender=user)
        mine, other = world.account(), world.account(stranger)
        assert self.ask(world, [stranger, NOBODY, user, second, user, world.owner]) == [
            other,
            NOTHING,
            mine,
            NOTHING,
            mine,
            NOTHING,
        ]
        assert world.serving.ask("getBatchAccountsByUsers", [user], sender=second) == [NOTHING]

    def test_of_nobody(self, world: World) -> None:
        assert self.ask(world, []) == []

    def test_too_many(self, world: World, serving: Contract, provider: str) -> None:
        for count in (501, 600):
            assert serving.refused("getBatchAccountsByUsers", [NOBODY] * count, sender=provider) == error(
                "BatchSizeTooLarge", size=count, max=500
            )
        assert serving.refused("getBatchAccountsByUsers", [NOBODY] * 601, sender=provider) is None
        assert self.ask(world, [NOBODY] * 500, gas=NODE_GAS) == [NOTHING] * 500

    def test_500_accounts_with_all_their_refunds_are_answered(self, world: World, user: str) -> None:
        world.open(coins=0)
        for coins in range(1, 6):
            world.deposit(coins)
            world.request()
        assert self.ask(world, [user] * 500, gas=NODE_GAS) == [world.account()] * 500

    def test_as_many_as_fit_with_the_longest_descriptions(self, world: World, provider: str) -> None:
        users = [world.evm.account(f"user {place}") for place in range(130)]
        for user in users:
            world.open(user, coins=0, info="x" * 4096)
        refusal = world.serving.refused("getBatchAccountsByUsers", users, sender=provider)
        assert refusal == error("BatchSizeTooLarge", size=130, max=117)
        found = self.ask(world, users[:117], gas=NODE_GAS)
        assert [one["user"] for one in found] == users[:117]
        assert {one["additionalInfo"] for one in found} == {"x" * 4096}


def test_a_page_of_the_largest_accounts_fits_a_nodes_limit(world: World, serving: Contract, provider: str) -> None:
    users = [world.evm.account(f"user {place}") for place in range(50)]
    for user in users:
        world.open(user, coins=0, info="x" * 4096)
        for coins in range(1, 6):
            world.deposit(coins, user=user)
            world.request(user)
        serving.send("revokeTokens", provider, [1, 255], sender=user)
    every = [world.account(user) for user in users]
    assert serving.ask("getAccountsByProvider", provider, 0, 50, gas=NODE_GAS) == (every, 50)
    assert serving.ask("getAllAccounts", 0, 0, gas=NODE_GAS) == (every, 50)
    assert self_of(serving, provider, users) == every


def self_of(serving: Contract, provider: str, users: list[str]) -> Any:
    return serving.ask("getBatchAccountsByUsers", users, sender=provider, gas=NODE_GAS)
