# SPDX-License-Identifier: Apache-2.0
"""A row stands twice in a batch: it is paid once, and the preview says so."""

from tests.attacks.scene import Scene
from tests.unit.contract import COIN


def test_in_a_batch_of_entries(scene: Scene) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    entry = scene.entry(scene.provider, COIN, 1)
    assert scene.preview("inference-v1.0", [entry] * 3, scene.provider) == ([(scene.user, 4)] * 2, [])
    before = scene.evm.balance(scene.provider)
    assert scene.settle(scene.provider, entry, entry, entry) == [0, 4, 4]
    assert scene.evm.balance(scene.provider) == before + COIN


def test_in_a_batch_with_one_signature(scene: Scene) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    before = scene.evm.balance(scene.provider)
    assert scene.batch(scene.provider, [(scene.user, COIN, 1)] * 3) == [0, 4, 4]
    assert scene.evm.balance(scene.provider) == before + COIN


def test_a_fee_of_nothing_and_an_empty_account_use_their_nonces_up_too(scene: Scene) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    nothing, all_of_it = scene.entry(scene.provider, 0, 1), scene.entry(scene.provider, 9 * COIN, 2)
    more = scene.entry(scene.provider, COIN, 3)
    assert scene.settle(scene.provider, nothing, nothing, all_of_it, all_of_it, more, more) == [0, 4, 1, 4, 1, 4]
