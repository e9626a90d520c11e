# SPDX-License-Identifier: Apache-2.0
"""Signatures in a second shape, of the wrong length, or that recover to the zero address, like an unset signer."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.actions import FORGERIES
from tests.stateful.model import ZERO
from tests.stateful.signing import ORDER, word
from tests.stateful.world import FINE_TUNING, INFERENCE
from tests.unit.contract import COIN


@pytest.mark.parametrize("forgery", [name for name in FORGERIES if name != "none"])
def test_no_second_shape_of_a_signature_pays(scene: Scene, forgery: str) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    entry = scene.entry(scene.provider, COIN, 1)
    spoilt = entry | {"signature": FORGERIES[forgery](entry["signature"])}
    assert scene.settle(scene.provider, spoilt, entry) == [5, 0]


@pytest.mark.parametrize("forgery", [name for name in FORGERIES if name != "none"])
def test_nor_in_fine_tuning(scene: Scene, forgery: str) -> None:
    scene.register(scene.provider, FINE_TUNING)
    scene.fund(scene.provider, FINE_TUNING)
    scene.do(FINE_TUNING, "addDeliverable", scene.user, "job", b"root", sender=scene.provider)
    task = scene.task("job", COIN, 1)
    spoilt = task | {"signature": FORGERIES[forgery](task["signature"])}
    refused = scene.do(FINE_TUNING, "settleFees", spoilt, sender=scene.provider).refused
    assert refused == ("InvalidVerifierInput", {"reason": "TEE settlement validation failed"})


@pytest.mark.parametrize(
    "signature",
    [
        bytes(65),
        word(0) + word(1) + b"\x1b",
        word(1) + word(0) + b"\x1b",
        word(ORDER) + word(1) + b"\x1b",
        word(1) + word(ORDER) + b"\x1c",
        b"\xff" * 65,
    ],
)
def test_a_signature_that_recovers_nobody_is_not_the_unset_signers(scene: Scene, signature: bytes) -> None:
    """A provider without a signer, confirmed by a careless owner, still settles nothing."""
    scene.register(scene.provider, signer=ZERO)
    scene.fund(scene.provider)
    entry = scene.entry(scene.provider, COIN, 1) | {"signature": signature}
    assert scene.settle(scene.provider, entry) == [3]
    scene.do(
        INFERENCE,
        "addOrUpdateService",
        {
            "serviceType": "chatbot",
            "url": "",
            "model": "",
            "verifiability": "",
            "inputPrice": 0,
            "outputPrice": 0,
            "additionalInfo": "",
            "teeSignerAddress": scene.tee_signer.address,
        },
        sender=scene.provider,
    )
    scene.do(INFERENCE, "acknowledgeTEESignerByOwner", scene.provider, sender=scene.owner)
    assert scene.settle(scene.provider, entry) == [5]
