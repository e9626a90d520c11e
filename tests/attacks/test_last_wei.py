# SPDX-License-Identifier: Apache-2.0
"""An account is settled down to its last wei: that wei comes home too, and the account can be deleted."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.world import INFERENCE
from tests.unit.contract import COIN


@pytest.mark.parametrize("left", [0, 1, 2])
def test_what_is_left_comes_home(scene: Scene, left: int) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    assert scene.settle(scene.provider, scene.entry(scene.provider, 5 * COIN - left, 1)) == [0]
    before = scene.evm.balance(scene.user)
    scene.leave()
    assert scene.evm.balance(scene.user) == before + 15 * COIN + left
    assert scene.accounts(INFERENCE) == []
