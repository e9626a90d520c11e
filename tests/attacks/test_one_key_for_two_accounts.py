"""A provider looks for a second address under which it finds its users' accounts again, and settles there as well.

Who settles names the user freely, so nobody has to own the address of the user at the second provider. Were a key the
provider's hash and the user's address added or mixed by exclusive or, two providers whose hashes agree in 96 bits would
share the accounts of all their users, and two such are among 2**48 addresses. Times a factor, the user's address leads
another provider to the same key only if the quotient of the two factors happens to make it an address: once in 2**96.
"""

import pytest
from eth_utils import keccak

from serving_network.contracts import load
from tests.attacks.scene import Scene
from tests.stateful.signing import word
from tests.stateful.world import FINE_TUNING, INFERENCE

WORDS = 2**256


def factor(provider: str) -> int:
    return int.from_bytes(keccak(word(provider)), "big") | 1


@pytest.mark.parametrize(("where", "contract"), [(INFERENCE, "InferenceServing"), (FINE_TUNING, "FineTuningServing")])
def test_the_key_is_the_user_times_a_factor_of_the_provider(scene: Scene, where: str, contract: str) -> None:
    first = load(contract).storage_layout["storage_layout"]["accounts"]["_words"]["slot"]
    for provider in scene.providers:
        scene.fund(provider, where)
        key = int(scene.user, 16) * factor(provider) % WORDS
        balance = scene.evm.storage(scene.addresses[where], _slot(first, key)) % 2**92
        assert balance == scene.balance_of(scene.user, provider, where) > 0


def test_providers_that_agree_for_one_user_do_not_for_the_others() -> None:
    """As if the search had succeeded for one user: the second factor is computed, which no hash can be made to give."""
    theirs = factor("0x" + "11" * 20)
    user, guise = 2**159 + 12345, 2**158 + 54321
    found = user * theirs * pow(guise, -1, WORDS) % WORDS
    assert found % 2 == 1
    assert guise * found % WORDS == user * theirs % WORDS
    others = [int.from_bytes(keccak(bytes([number]))[12:], "big") for number in range(100)]
    guises = [other * theirs * pow(found, -1, WORDS) % WORDS for other in others]
    assert min(guises) >= 2**160


def _slot(first: int, key: int) -> int:
    return int.from_bytes(keccak(word(first) + word(key)), "big")
