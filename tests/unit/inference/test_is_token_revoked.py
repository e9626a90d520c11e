# SPDX-License-Identifier: Apache-2.0
"""isTokenRevoked"""

from tests.unit.contract import Contract, error
from tests.unit.inference.world import World


def test_reads_one_bit(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open()
    serving.send("revokeTokens", provider, [0, 64, 199, 200, 255], sender=user)
    revoked = [token for token in range(256) if serving.ask("isTokenRevoked", user, provider, token)]
    assert revoked == [0, 64, 199, 200, 255]


def test_needs_an_account(serving: Contract, user: str, provider: str) -> None:
    assert serving.refused("isTokenRevoked", user, provider, 0, sender=user) == error(
        "AccountNotExists", user=user, provider=provider
    )
