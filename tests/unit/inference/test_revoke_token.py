# SPDX-License-Identifier: Apache-2.0
"""revokeToken"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.inference.world import World


@pytest.mark.parametrize("token", [0, 1, 199, 200, 201, 255])
def test_revokes_one_token_for_ever(world: World, serving: Contract, user: str, provider: str, token: int) -> None:
    world.open()
    done = serving.send("revokeToken", provider, token, sender=user)
    assert done.events == [event("TokenRevoked", user=user, provider=provider, tokenId=token)]
    assert world.account()["revokedBitmap"] == 1 << token
    assert serving.ask("isTokenRevoked", user, provider, token) is True
    assert serving.send("revokeToken", provider, token, sender=user).events == done.events
    assert world.account()["revokedBitmap"] == 1 << token


def test_needs_an_account(world: World, serving: Contract, user: str, provider: str, stranger: str) -> None:
    world.open()
    assert serving.refused("revokeToken", provider, 1, sender=stranger) == error(
        "AccountNotExists", user=stranger, provider=provider
    )
    world.close()
    assert serving.refused("revokeToken", provider, 1, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )


def test_every_number_has_its_own_bit(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    bitmap = 0
    for token in range(0, 256, 17):
        serving.send("revokeToken", provider, token, sender=user)
        bitmap |= 1 << token
        assert world.account()["revokedBitmap"] == bitmap
    assert world.account()["generation"] == 0


def test_concerns_one_user_and_one_provider(
    world: World, serving: Contract, user: str, second: str, stranger: str
) -> None:
    for someone in (user, stranger):
        for provider in (world.provider, second):
            world.open(someone, provider, 0)
    serving.send("revokeToken", world.provider, 5, sender=user)
    revoked = {
        (someone, provider): serving.ask("isTokenRevoked", someone, provider, 5)
        for someone in (user, stranger)
        for provider in (world.provider, second)
    }
    assert [pair for pair, is_revoked in revoked.items() if is_revoked] == [(user, world.provider)]


@pytest.mark.parametrize("token", [3, 230])
def test_stays_revoked_when_the_account_is_opened_again(
    world: World, serving: Contract, user: str, provider: str, token: int
) -> None:
    world.open()
    serving.send("revokeToken", provider, token, sender=user)
    for _ in range(2):
        world.close()
        world.open()
        assert serving.ask("isTokenRevoked", user, provider, token) is True
        assert world.account()["generation"] == 0


def test_a_number_of_another_size_is_refused(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    data = bytearray(serving.interface.encode("revokeToken", provider, 255))
    data[-2] = 1
    assert serving.refused_raw(bytes(data), sender=user) is None
