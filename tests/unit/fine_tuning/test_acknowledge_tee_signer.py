# SPDX-License-Identifier: Apache-2.0
"""acknowledgeTEESigner"""

import pytest

from tests.unit.contract import Contract, error
from tests.unit.fine_tuning.world import World


def test_is_taken_back_and_given_without_an_event(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    done = serving.send("acknowledgeTEESigner", provider, False, sender=user)
    assert (done.result, done.events) == (None, [])
    assert not world.account()["acknowledged"]
    assert serving.ask("accountExists", user, provider)
    done = serving.send("acknowledgeTEESigner", provider, True, sender=user)
    assert (done.result, done.events) == (None, [])
    assert world.account()["acknowledged"]


def test_checks_in_order(serving: Contract, user: str, provider: str, stranger: str, opened: int) -> None:
    for flag in (True, False):
        assert serving.refused("acknowledgeTEESigner", provider, flag, sender=stranger) == error(
            "AccountNotExists", user=stranger, provider=provider
        )
    assert serving.refused("acknowledgeTEESigner", provider, False, sender=user) == error(
        "CannotRevokeWithNonZeroBalance", user=user, provider=provider, balance=opened
    )
    serving.send("acknowledgeTEESigner", provider, True, sender=user)


@pytest.mark.usefixtures("ready")
def test_changes_nothing_else(world: World, serving: Contract, user: str, provider: str) -> None:
    world.finish("task")
    world.request()
    before = world.account()
    serving.send("acknowledgeTEESigner", provider, True, sender=user)
    assert world.account() == before
