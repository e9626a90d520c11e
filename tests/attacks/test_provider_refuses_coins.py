# SPDX-License-Identifier: Apache-2.0
"""A provider's wallet turns coins away: nothing may be booked, and nobody else may be held up."""

from tests.attacks.scene import Scene
from tests.stateful.model import Mood
from tests.stateful.world import FINE_TUNING, INFERENCE
from tests.unit.contract import COIN


def test_its_own_settlement_and_stake_wait_until_it_takes_coins(scene: Scene) -> None:
    provider = scene.provider_contract
    scene.register(provider)
    scene.fund(provider)
    entry = scene.entry(provider, COIN, 1)
    scene.set_mood(provider, Mood(refuses=True))
    assert scene.do(INFERENCE, "settleFeesWithTEE", [entry], sender=provider).refused == ("TransferFailed", {})
    assert scene.do(INFERENCE, "removeService", sender=provider).refused == ("TransferFailed", {})
    assert scene.balance_of(scene.user, provider) == 5 * COIN
    scene.set_mood(provider, None)
    assert scene.settle(provider, entry) == [0]
    scene.do(INFERENCE, "removeService", sender=provider)


def test_users_get_their_money_back_all_the_same(scene: Scene) -> None:
    for where in (INFERENCE, FINE_TUNING):
        scene.register(scene.provider_contract, where)
        scene.fund(scene.provider_contract, where)
    scene.set_mood(scene.provider_contract, Mood(refuses=True))
    before = scene.evm.balance(scene.user)
    scene.leave()
    assert scene.evm.balance(scene.user) == before + 20 * COIN


def test_in_fine_tuning_nothing_is_booked(scene: Scene) -> None:
    provider = scene.provider_contract
    scene.register(provider, FINE_TUNING)
    scene.fund(provider, FINE_TUNING)
    scene.do(FINE_TUNING, "addDeliverable", scene.user, "job", b"root", sender=provider)
    scene.set_mood(provider, Mood(refuses=True))
    task = scene.task("job", COIN, 1)
    assert scene.do(FINE_TUNING, "settleFees", task, sender=provider).refused == ("ETHTransferFailed", {})
    scene.set_mood(provider, None)
    assert scene.do(FINE_TUNING, "settleFees", task, sender=provider).refused is None
