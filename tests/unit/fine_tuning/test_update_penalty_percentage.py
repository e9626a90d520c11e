# SPDX-License-Identifier: Apache-2.0
"""updatePenaltyPercentage"""

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.fine_tuning.world import World


@pytest.mark.parametrize("percentage", [0, 1, 100])
def test_changes_it_without_an_event(serving: Contract, owner: str, percentage: int) -> None:
    done = serving.send("updatePenaltyPercentage", percentage, sender=owner)
    assert (done.result, done.events) == (None, [])
    assert serving.ask("penaltyPercentage") == percentage


def test_checks_in_order(serving: Contract, owner: str, stranger: str) -> None:
    assert serving.refused("updatePenaltyPercentage", 101, sender=stranger) == error(
        "Error", message="Ownable: caller is not the owner"
    )
    for percentage in (101, 2**256 - 1):
        assert serving.refused("updatePenaltyPercentage", percentage, sender=owner) == error(
            "PenaltyPercentageTooHigh", percentage=percentage
        )


def test_holds_for_what_is_already_delivered(world: World, serving: Contract, owner: str, ready: int) -> None:
    world.deliver("task")
    settlement = world.settlement("task", secret=b"")
    serving.send("updatePenaltyPercentage", 50, sender=owner)
    world.settle(settlement)
    assert world.account()["balance"] == ready - COIN // 2
