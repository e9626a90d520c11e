# SPDX-License-Identifier: Apache-2.0
"""acknowledgeTEESigner"""

from tests.unit.contract import Contract, error
from tests.unit.inference.world import World


def test_takes_back_and_gives_without_an_event(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(coins=0)
    assert serving.send("acknowledgeTEESigner", provider, False, sender=user).logs == ()
    assert world.account()["acknowledged"] is False
    assert serving.send("acknowledgeTEESigner", provider, False, sender=user).logs == ()
    assert serving.send("acknowledgeTEESigner", provider, True, sender=user).logs == ()
    assert world.account()["acknowledged"] is True


def test_needs_an_account(serving: Contract, user: str, provider: str) -> None:
    for flag in (True, False):
        assert serving.refused("acknowledgeTEESigner", provider, flag, sender=user) == error(
            "AccountNotExists", user=user, provider=provider
        )


def test_cannot_be_taken_back_while_there_is_money(
    world: World, serving: Contract, user: str, provider: str, opened: int
) -> None:
    expected = error("CannotRevokeWithNonZeroBalance", user=user, provider=provider, balance=opened)
    assert serving.refused("acknowledgeTEESigner", provider, False, sender=user) == expected
    world.request()
    assert serving.refused("acknowledgeTEESigner", provider, False, sender=user) == expected
    serving.send("acknowledgeTEESigner", provider, True, sender=user)


def test_changes_nothing_else(world: World, serving: Contract, user: str, provider: str, ready: int) -> None:
    world.settle(world.fee(ready, nonce=2**64 - 1))
    serving.send("revokeAllTokens", provider, sender=user)
    before = world.account()
    serving.send("acknowledgeTEESigner", provider, False, sender=user)
    assert world.account() == before | {"acknowledged": False}
    serving.send("acknowledgeTEESigner", provider, True, sender=user)
    assert world.account() == before
