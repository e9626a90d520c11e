# SPDX-License-Identifier: Apache-2.0
"""A revoked session token comes back to life when its account is deleted and opened again."""

from tests.attacks.scene import Scene
from tests.stateful.world import INFERENCE, LEDGER
from tests.unit.contract import COIN


def test_revoked_tokens_and_generations_survive_the_account(scene: Scene) -> None:
    provider = scene.provider
    scene.fund(provider)
    scene.do(INFERENCE, "revokeAllTokens", provider, sender=scene.user)
    scene.do(INFERENCE, "revokeToken", provider, 7, sender=scene.user)
    scene.do(INFERENCE, "revokeTokens", provider, [0, 199, 200, 255], sender=scene.user)
    scene.leave()
    assert not scene.ask(INFERENCE, "accountExists", scene.user, provider)

    scene.do(LEDGER, "addLedger", "", sender=scene.user, value=20 * COIN)
    scene.fund(provider)
    for token in range(256):
        revoked = scene.ask(INFERENCE, "isTokenRevoked", scene.user, provider, token)
        assert revoked == (token in (0, 7, 199, 200, 255))
    account = scene.ask(INFERENCE, "getAccount", scene.user, provider)
    assert account["generation"] == 1


def test_a_new_generation_starts_clean_and_stays_ahead(scene: Scene) -> None:
    provider = scene.provider
    scene.fund(provider)
    for generation in (1, 2, 3):
        scene.do(INFERENCE, "revokeToken", provider, 255, sender=scene.user)
        scene.do(INFERENCE, "revokeAllTokens", provider, sender=scene.user)
        assert not scene.ask(INFERENCE, "isTokenRevoked", scene.user, provider, 255)
        assert scene.ask(INFERENCE, "getAccount", scene.user, provider)["generation"] == generation
