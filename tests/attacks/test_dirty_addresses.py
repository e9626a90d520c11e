# SPDX-License-Identifier: Apache-2.0
"""Bits above the 160 of an address: one user written in two ways could have two accounts, or be charged for another.

The key of an account is a hash over two whole words, which tells addresses apart only while they are addresses.
"""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.signing import word
from tests.stateful.world import FINE_TUNING, INFERENCE, INTERFACES
from tests.unit.contract import COIN

DIRT = {"the lowest bit": 2**160, "the highest bit": 2**255, "every bit": 2**256 - 2**160}


@pytest.mark.parametrize("dirt", DIRT.values(), ids=DIRT.keys())
@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_no_call_takes_a_user_of_more_than_160_bits(scene: Scene, where: str, dirt: int) -> None:
    """In every function of settlement and deliverables, and in the views that providers believe."""
    thief = scene.providers[0]
    victim_of = scene.providers[1]
    scene.register(thief, where)
    scene.fund(victim_of, where)
    scene.fund(thief, where)
    number = int(scene.user, 16) | dirt
    assert number >= 2**160
    for data in _calls(scene, where, thief):
        assert data.count(word(scene.user)) >= 1
        dirty = data.replace(word(scene.user), word(number))
        outcome = scene.evm.send(scene.addresses[where], dirty, sender=thief)
        assert not outcome.success
        assert outcome.output == b""
    assert scene.balance_of(scene.user, victim_of, where) == 5 * COIN


def _calls(scene: Scene, where: str, provider: str) -> list[bytes]:
    encode = INTERFACES[where].encode
    calls = [
        encode("getAccount", scene.user, provider),
        encode("getPendingRefund", scene.user, provider),
        encode("accountExists", scene.user, provider),
        encode("getBatchAccountsByUsers", [scene.user]),
    ]
    if where == FINE_TUNING:
        calls += [
            encode("settleFees", scene.task("job", COIN, 1)),
            encode("addDeliverable", scene.user, "job", b"root"),
            encode("abandonDeliverable", scene.user, "job"),
            encode("getDeliverable", scene.user, provider, "job"),
        ]
    else:
        entry = scene.entry(provider, COIN, 1)
        calls += [
            encode("settleFeesWithTEE", [entry]),
            encode("previewSettlementResults", [entry]),
            encode("isTokenRevoked", scene.user, provider, 0),
        ]
    return calls
