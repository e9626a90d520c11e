# SPDX-License-Identifier: Apache-2.0
"""accountExists"""

import pytest

from tests.unit.contract import Contract
from tests.unit.fine_tuning.world import World


def test_knows_user_and_provider_apart(
    world: World, serving: Contract, user: str, provider: str, stranger: str
) -> None:
    assert not serving.ask("accountExists", user, provider)
    world.open(user, provider, 0)
    assert serving.ask("accountExists", user, provider)
    assert not serving.ask("accountExists", provider, user)
    assert not serving.ask("accountExists", stranger, provider)
    assert not serving.ask("accountExists", user, stranger)


def test_also_without_an_acknowledgement(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    serving.send("acknowledgeTEESigner", provider, False, sender=user)
    assert serving.ask("accountExists", user, provider)


@pytest.mark.usefixtures("ready")
def test_not_after_deletion_with_a_nonce_kept(world: World, serving: Contract, user: str, provider: str) -> None:
    world.finish("task")
    world.empty_account()
    world.delete()
    assert not serving.ask("accountExists", user, provider)
