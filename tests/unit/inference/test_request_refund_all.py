# SPDX-License-Identifier: Apache-2.0
"""requestRefundAll"""

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import DAY, World


def test_books_what_is_not_asked_back_yet(world: World, user: str, provider: str, opened: int) -> None:
    done = world.request()
    assert done.events == [event("RefundRequested", user=user, provider=provider, index=0, timestamp=world.evm.time)]
    account = world.account()
    assert (account["balance"], account["pendingRefund"]) == (opened, opened)
    assert account["refunds"] == [{"index": 0, "amount": opened, "createdAt": world.evm.time, "processed": False}]


def test_checks_in_order(serving: Contract, ledger: str, user: str, provider: str, stranger: str) -> None:
    assert serving.refused("requestRefundAll", user, provider, sender=stranger) == error(
        "CallerNotLedger", caller=stranger
    )
    assert serving.refused("requestRefundAll", user, provider, sender=ledger) == error(
        "AccountNotExists", user=user, provider=provider
    )


def test_says_nothing_about_an_empty_account(world: World) -> None:
    world.open(coins=0)
    assert world.request().events == []
    assert world.refunds() == []


def test_names_the_newest_also_when_nothing_was_booked(world: World, user: str, provider: str, opened: int) -> None:
    world.request()
    world.deposit(5)
    world.request()
    world.evm.time += 60
    done = world.request()
    assert done.events == [event("RefundRequested", user=user, provider=provider, index=1, timestamp=world.evm.time)]
    assert world.refunds() == [opened, 5]


class TestAFullQueue:
    def fill(self, world: World) -> list[int]:
        world.open(coins=0)
        times = []
        for coins in range(1, 6):
            world.deposit(coins)
            world.request()
            times.append(world.evm.time)
            world.evm.time += 60
        return times

    def test_the_amount_joins_the_newest_whose_clock_restarts(self, world: World, user: str, provider: str) -> None:
        times = self.fill(world)
        world.deposit(100)
        done = world.request()
        assert done.events == [
            event("RefundRequested", user=user, provider=provider, index=4, timestamp=world.evm.time)
        ]
        account = world.account()
        assert account["pendingRefund"] == account["balance"] == 115
        assert [(refund["amount"], refund["createdAt"]) for refund in account["refunds"]] == list(
            zip((1, 2, 3, 4, 105), [*times[:4], world.evm.time], strict=True)
        )

    def test_nothing_to_add_restarts_no_clock(self, world: World) -> None:
        times = self.fill(world)
        world.request()
        assert [refund["createdAt"] for refund in world.account()["refunds"]] == times

    def test_again_and_again(self, world: World) -> None:
        self.fill(world)
        for _ in range(3):
            world.evm.time += 60
            world.deposit(COIN)
            world.request()
        assert world.refunds() == [1, 2, 3, 4, 5 + 3 * COIN]
        world.evm.time += DAY
        assert world.process().result == (15 + 3 * COIN, 0, 0)

    def test_room_is_made_by_what_matures(self, world: World) -> None:
        times = self.fill(world)
        world.evm.time = times[1] + DAY
        assert world.process().result == (3, 12, 12)
        world.deposit(6)
        world.request()
        assert world.refunds() == [3, 4, 5, 6]
