# SPDX-License-Identifier: Apache-2.0
"""revokeTokens"""

from tests.unit.contract import Contract, error, event
from tests.unit.inference.world import World


def test_revokes_several_and_lists_them_as_given(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    tokens = [255, 0, 7, 7, 200]
    done = serving.send("revokeTokens", provider, tokens, sender=user)
    assert done.events == [event("TokensRevoked", user=user, provider=provider, tokenIds=tokens)]
    assert world.account()["revokedBitmap"] == 1 << 255 | 1 | 1 << 7 | 1 << 200


def test_adds_to_what_is_revoked(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    serving.send("revokeToken", provider, 1, sender=user)
    serving.send("revokeTokens", provider, [2, 254], sender=user)
    assert world.account()["revokedBitmap"] == 0b110 | 1 << 254


def test_none_is_an_event_too(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    done = serving.send("revokeTokens", provider, [], sender=user)
    assert done.events == [event("TokensRevoked", user=user, provider=provider, tokenIds=[])]
    assert world.account()["revokedBitmap"] == 0


def test_needs_an_account(serving: Contract, user: str, provider: str) -> None:
    assert serving.refused("revokeTokens", provider, [1], sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )


def test_every_number_at_once_and_room_above(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    serving.send("revokeTokens", provider, [*range(256)] * 2, sender=user)
    assert world.account()["revokedBitmap"] == 2**256 - 1
    assert world.account()["generation"] == 0
    assert serving.refused("revokeTokens", provider, [1] * 513, sender=user) is None


def test_in_a_later_generation_the_upper_numbers_start_afresh(
    world: World, serving: Contract, user: str, provider: str
) -> None:
    world.open()
    serving.send("revokeTokens", provider, [*range(256)], sender=user)
    serving.send("revokeAllTokens", provider, sender=user)
    assert world.account()["revokedBitmap"] == 0
    serving.send("revokeTokens", provider, [250, 4], sender=user)
    assert world.account()["revokedBitmap"] == 1 << 250 | 1 << 4
