# SPDX-License-Identifier: Apache-2.0
"""revokeAllTokens"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.inference.world import World


def test_begins_a_new_generation_with_nothing_revoked(
    world: World, serving: Contract, user: str, provider: str
) -> None:
    world.open()
    serving.send("revokeTokens", provider, [0, 199, 200, 255], sender=user)
    for generation in (1, 2, 3):
        done = serving.send("revokeAllTokens", provider, sender=user)
        assert done.events == [event("AllTokensRevoked", user=user, provider=provider, newGeneration=generation)]
        account = world.account()
        assert (account["generation"], account["revokedBitmap"]) == (generation, 0)


def test_needs_an_account(serving: Contract, user: str, provider: str) -> None:
    assert serving.refused("revokeAllTokens", provider, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )


@pytest.mark.parametrize("token", [3, 230])
def test_what_was_revoked_before_does_not_come_back(
    world: World, serving: Contract, user: str, provider: str, token: int
) -> None:
    """The upper numbers live in a second word, which a new generation does not clear."""
    world.open()
    serving.send("revokeToken", provider, token, sender=user)
    serving.send("revokeAllTokens", provider, sender=user)
    assert serving.ask("isTokenRevoked", user, provider, token) is False
    serving.send("revokeToken", provider, token ^ 1, sender=user)
    assert world.account()["revokedBitmap"] == 1 << (token ^ 1)


def test_the_generation_survives_the_account(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    serving.send("revokeAllTokens", provider, sender=user)
    serving.send("revokeAllTokens", provider, sender=user)
    world.close()
    world.open()
    assert world.account()["generation"] == 2
