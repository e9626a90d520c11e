# SPDX-License-Identifier: Apache-2.0
"""One entry of a batch is wrong, in every way an entry can be wrong: the others are paid."""

from tests.attacks.scene import Scene
from tests.stateful.model import ZERO
from tests.stateful.world import LEDGER
from tests.unit.contract import COIN


def test_every_way_at_once(scene: Scene) -> None:
    provider = scene.provider
    scene.register(provider)
    scene.fund(provider)
    good = [scene.entry(provider, COIN, nonce) for nonce in (1, 2, 3)]
    spoilt = [
        scene.entry(scene.provider_contract, COIN, 9),
        scene.entry(provider, COIN, 1, user=scene.other_user),
        scene.entry(provider, COIN, 1, user=ZERO),
        scene.entry(provider, COIN, 0),
        scene.entry(provider, 2**256 - 1, 9) | {"signature": b""},
        scene.entry(provider, COIN, 9) | {"signature": bytes(128)},
        scene.entry(provider, COIN, 2**256 - 1),
    ]
    batch = [good[0], *spoilt, good[1], good[2]]
    assert scene.settle(provider, *batch) == [0, 2, 5, 5, 4, 5, 5, 4, 0, 0]
    assert scene.balance_of(scene.user, provider) == 2 * COIN


def test_in_a_batch_with_one_signature(scene: Scene) -> None:
    provider = scene.provider
    scene.register(provider)
    scene.fund(provider)
    statuses = scene.batch(
        provider, [(scene.user, COIN, 1), (scene.other_user, COIN, 1), (scene.user, COIN, 0), (scene.user, COIN, 2)]
    )
    assert statuses == [0, 5, 4, 0]
    assert scene.balance_of(scene.user, provider) == 3 * COIN


def test_a_user_without_money_left_in_the_middle(scene: Scene) -> None:
    provider = scene.provider
    scene.do(LEDGER, "addLedger", "", sender=scene.other_user, value=10 * COIN)
    scene.register(provider)
    scene.fund(provider)
    scene.fund(provider, user=scene.other_user)
    entries = [
        scene.entry(provider, 100 * COIN, 1),
        scene.entry(provider, COIN, 2),
        scene.entry(provider, COIN, 1, user=scene.other_user),
    ]
    assert scene.settle(provider, *entries) == [1, 1, 0]
