"""Bits above the 160 of an address: a user written so could stand for an account with another provider.

Accounts are kept under the user's address times a factor of the provider, which is safe only while a user is an
address: with 256 bits to choose from, a provider could compute the "user" whose key is that of anybody's account.
"""

import pytest
from eth_utils import keccak

from tests.attacks.scene import Scene
from tests.stateful.signing import word
from tests.stateful.world import FINE_TUNING, INFERENCE, INTERFACES
from tests.unit.contract import COIN

WORDS = 2**256


def guise(user: str, provider: str, other_provider: str) -> int:
    """The number that, taken for a user of the other provider, has the key of the user's account with the first."""
    factors = [int.from_bytes(keccak(word(one)), "big") | 1 for one in (provider, other_provider)]
    return int(user, 16) * factors[0] * pow(factors[1], -1, WORDS) % WORDS


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_no_call_takes_a_user_of_more_than_160_bits(scene: Scene, where: str) -> None:
    """In every function of settlement and deliverables, and in the views that providers believe."""
    thief = scene.providers[0]
    victim_of = scene.providers[1]
    scene.register(thief, where)
    scene.fund(victim_of, where)
    number = guise(scene.user, victim_of, thief)
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
