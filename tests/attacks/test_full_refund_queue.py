# SPDX-License-Identifier: Apache-2.0
"""Five refunds wait and a sixth is asked for: the live network refused that, and everything else in the same call."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER
from tests.unit.contract import COIN


def fill(scene: Scene, where: str) -> None:
    """Five refunds, by keeping half of the newest and asking it back again."""
    scene.fund(scene.provider, where, coins=16)
    scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    for coins in (8, 4, 2, 1):
        scene.wait(60)
        scene.fund(scene.provider, where, coins=coins)
        scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    assert waiting(scene, where) == [8, 4, 2, 1, 1]


def waiting(scene: Scene, where: str) -> list[int]:
    return [refund["amount"] // COIN for refund in scene.accounts(where)[0]["refunds"]]


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_the_sixth_joins_the_newest_whose_clock_restarts(scene: Scene, where: str) -> None:
    fill(scene, where)
    scene.wait(60)
    scene.do(LEDGER, "transferFund", scene.provider, where, COIN // 2, sender=scene.user)
    done = scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    assert done.refused is None
    newest = scene.accounts(where)[0]["refunds"][-1]
    assert (newest["index"], newest["amount"], newest["createdAt"]) == (4, COIN, scene.evm.time)


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_what_is_due_is_paid_in_the_same_call(scene: Scene, where: str) -> None:
    fill(scene, where)
    scene.do(LEDGER, "transferFund", scene.provider, where, COIN // 2, sender=scene.user)
    scene.wait(86_400 - 240)
    done = scene.do(LEDGER, "retrieveFund", [scene.provider], where, sender=scene.user)
    assert done.events[-1][1:] == (
        "FundsRetrieved",
        {
            "user": scene.user,
            "service": scene.addresses[where],
            "amount": 8 * COIN,
            "availableBalance": 12 * COIN,
        },
    )


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_all_of_it_comes_home_within_twice_the_lock_time(scene: Scene, where: str) -> None:
    fill(scene, where)
    before = scene.evm.balance(scene.user)
    scene.leave()
    assert scene.evm.balance(scene.user) == before + 20 * COIN
