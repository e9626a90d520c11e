# SPDX-License-Identifier: Apache-2.0
"""A provider registers another provider's TEE signer, which is a real one, and settles with what that TEE has signed.

An inference message names the provider. A fine-tuning message does not, and what is signed is fixed by the clients, so
there the owner must confirm a signer for one provider only.
"""

from tests.attacks.scene import Scene
from tests.stateful.world import FINE_TUNING
from tests.unit.contract import COIN


def test_inference_pays_only_the_provider_that_is_named(scene: Scene) -> None:
    first, second = scene.providers
    for provider in (first, second):
        scene.register(provider)
        scene.fund(provider)
    entry = scene.entry(first, COIN, 1)
    assert scene.settle(second, entry) == [2]
    assert scene.settle(second, entry | {"provider": second}) == [5]
    assert scene.settle(first, entry) == [0]


def test_fine_tuning_depends_on_the_owner_s_confirmation(bare: Scene) -> None:
    first, second = bare.providers
    for provider in (first, second):
        bare.register(provider, FINE_TUNING)
        bare.fund(provider, FINE_TUNING)
        assert bare.raw(FINE_TUNING, "addDeliverable", bare.user, "job", b"root", sender=provider).success
    task = bare.task("job", COIN, 1)
    assert bare.raw(FINE_TUNING, "settleFees", task, sender=first).success
    with bare.evm.rolled_back():
        assert bare.raw(FINE_TUNING, "settleFees", task, sender=second).success
    taken_back = bare.raw(FINE_TUNING, "revokeTEESignerAcknowledgement", second, sender=bare.owner)
    assert taken_back.success
    assert not bare.raw(FINE_TUNING, "settleFees", task, sender=second).success
