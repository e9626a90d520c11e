# SPDX-License-Identifier: Apache-2.0
"""getBatchAccountsByUsers"""

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.fine_tuning.world import World

NOBODY = "0x" + "00" * 20
NOTHING = {
    "user": NOBODY,
    "provider": NOBODY,
    "nonce": 0,
    "balance": 0,
    "pendingRefund": 0,
    "additionalInfo": "",
    "validRefundsLength": 0,
    "deliverablesCount": 0,
    "acknowledged": False,
}


def test_in_the_callers_order_with_gaps(
    world: World, serving: Contract, user: str, provider: str, second: str, stranger: str, opened: int
) -> None:
    world.open(user, second, 1, "with the second")
    found = serving.ask("getBatchAccountsByUsers", [stranger, user, user], sender=provider)
    assert found[0] == NOTHING
    assert found[1] == found[2]
    assert (found[1]["user"], found[1]["provider"], found[1]["balance"]) == (user, provider, opened)
    assert serving.ask("getBatchAccountsByUsers", [user], sender=second)[0]["additionalInfo"] == "with the second"


def test_of_nobody(serving: Contract, provider: str) -> None:
    assert serving.ask("getBatchAccountsByUsers", [], sender=provider) == []


@pytest.mark.parametrize(("number", "refused"), [(50, False), (51, True), (60, True)])
def test_how_many(serving: Contract, stranger: str, provider: str, number: int, refused: bool) -> None:
    if refused:
        assert serving.refused("getBatchAccountsByUsers", [stranger] * number, sender=provider) == error(
            "BatchSizeTooLarge", size=number, maxSize=50
        )
    else:
        assert serving.ask("getBatchAccountsByUsers", [stranger] * number, sender=provider) == [NOTHING] * number


@pytest.mark.usefixtures("ready")
def test_a_deleted_account_is_nothing(world: World, serving: Contract, user: str, provider: str) -> None:
    world.finish("task")
    world.deliver("open")
    world.empty_account()
    world.delete()
    assert serving.ask("getBatchAccountsByUsers", [user], sender=provider) == [NOTHING]


def test_counts_deliverables(world: World, serving: Contract, user: str, provider: str, ready: int) -> None:
    world.finish("task")
    world.deliver("open")
    (found,) = serving.ask("getBatchAccountsByUsers", [user], sender=provider)
    assert (found["deliverablesCount"], found["nonce"], found["balance"]) == (2, 1, ready - COIN)
