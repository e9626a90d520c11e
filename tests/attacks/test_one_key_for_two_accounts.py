# SPDX-License-Identifier: Apache-2.0
"""A provider looks for a second address under which it finds its users' accounts again, and settles there as well.

Who settles names the user freely, so nobody has to own the address of the user at the second provider. The key of an
account is the hash of both addresses, in this order: two pairs share an account only if keccak256 collides.
"""

from itertools import product

import pytest
from eth_utils import keccak

from serving_network.contracts import load
from tests.attacks.scene import Scene
from tests.stateful.signing import word
from tests.stateful.world import FINE_TUNING, INFERENCE

SERVICES = [(INFERENCE, "InferenceServing"), (FINE_TUNING, "FineTuningServing")]


@pytest.mark.parametrize(("where", "contract"), SERVICES)
def test_the_key_is_the_hash_of_provider_and_user(scene: Scene, where: str, contract: str) -> None:
    for provider in scene.providers:
        scene.fund(provider, where)
        balance = coins(scene, where, contract, provider, scene.user)
        assert balance == scene.balance_of(scene.user, provider, where) > 0


@pytest.mark.parametrize(("where", "contract"), SERVICES)
def test_user_and_provider_do_not_change_places(scene: Scene, where: str, contract: str) -> None:
    """Funds of one user with one provider are in one of all the pairs, the same two the other way round included."""
    scene.fund(scene.providers[0], where)
    people = [scene.user, *scene.providers]
    funded = {
        (provider, user)
        for provider, user in product(people, people)
        if coins(scene, where, contract, provider, user) > 0
    }
    assert funded == {(scene.providers[0], scene.user)}


def coins(scene: Scene, where: str, contract: str, provider: str, user: str) -> int:
    """The balance in the word that an account with this key has."""
    first = load(contract).storage_layout["storage_layout"]["accounts"]["_words"]["slot"]
    slot = keccak(word(first) + keccak(word(provider) + word(user)))
    return scene.evm.storage(scene.addresses[where], int.from_bytes(slot, "big")) % 2**92
