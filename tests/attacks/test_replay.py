# SPDX-License-Identifier: Apache-2.0
"""A settlement that was paid once, or signed for somewhere else, is presented again."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.signing import FINE_TUNING as FINE_TUNING_NAME
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER, OTHER_INFERENCE
from tests.unit.contract import COIN

INVALID_NONCE, INVALID_SIGNATURE = 4, 5


@pytest.fixture
def served(scene: Scene) -> Scene:
    for where in (INFERENCE, OTHER_INFERENCE, FINE_TUNING):
        scene.register(scene.provider, where)
        scene.fund(scene.provider, where)
    return scene


def test_the_same_entry_again(served: Scene) -> None:
    entry = served.entry(served.provider, COIN, 7)
    assert served.settle(served.provider, entry) == [0]
    assert served.settle(served.provider, entry) == [INVALID_NONCE]
    assert served.balance_of(served.user, served.provider) == 4 * COIN


def test_signed_for_another_chain(served: Scene) -> None:
    entry = served.entry(served.provider, COIN, 1, chain_id=16_661)
    assert served.settle(served.provider, entry) == [INVALID_SIGNATURE]


def test_signed_for_another_version_of_the_service(served: Scene) -> None:
    entry = served.entry(served.provider, COIN, 1, where=OTHER_INFERENCE)
    assert served.settle(served.provider, entry, where=INFERENCE) == [INVALID_SIGNATURE]
    assert served.settle(served.provider, entry, where=OTHER_INFERENCE) == [0]


def test_signed_under_another_name_or_version_of_the_domain(served: Scene) -> None:
    renamed = served.entry(served.provider, COIN, 1, name=FINE_TUNING_NAME)
    renumbered = served.entry(served.provider, COIN, 2, version="2")
    assert served.settle(served.provider, renamed, renumbered) == [INVALID_SIGNATURE] * 2


def test_signed_for_another_provider_with_the_same_tee(served: Scene) -> None:
    served.register(served.provider_contract)
    served.fund(served.provider_contract)
    entry = served.entry(served.provider, COIN, 1)
    assert served.settle(served.provider_contract, entry) == [2]
    assert served.settle(served.provider_contract, entry | {"provider": served.provider_contract}) == [
        INVALID_SIGNATURE
    ]


def test_an_account_deleted_and_opened_again(served: Scene) -> None:
    """Deletion keeps the nonce: nothing that was paid before can be paid from the new account."""
    entry = served.entry(served.provider, COIN, 7)
    assert served.settle(served.provider, entry) == [0]
    for where in (INFERENCE, OTHER_INFERENCE, FINE_TUNING):
        served.do(LEDGER, "retrieveFund", [served.provider], where, sender=served.user)
    served.wait(86_400)
    for where in (INFERENCE, OTHER_INFERENCE, FINE_TUNING):
        served.do(LEDGER, "retrieveFund", [served.provider], where, sender=served.user)
    served.do(LEDGER, "refundAll", sender=served.user)
    assert not served.ask(INFERENCE, "accountExists", served.user, served.provider)

    served.do(LEDGER, "addLedger", "", sender=served.user, value=20 * COIN)
    served.fund(served.provider)
    assert served.settle(served.provider, entry) == [INVALID_NONCE]
    assert served.balance_of(served.user, served.provider) == 5 * COIN


def test_a_fine_tuning_task_again_and_from_another_chain(served: Scene) -> None:
    served.do(FINE_TUNING, "addDeliverable", served.user, "job", b"root", sender=served.provider)
    elsewhere = served.task("job", COIN, 1, chain_id=16_661)
    refused = served.do(FINE_TUNING, "settleFees", elsewhere, sender=served.provider).refused
    assert refused == ("InvalidVerifierInput", {"reason": "TEE settlement validation failed"})
    task = served.task("job", COIN, 1)
    served.do(FINE_TUNING, "settleFees", task, sender=served.provider)
    refused = served.do(FINE_TUNING, "settleFees", task, sender=served.provider).refused
    assert refused == ("InvalidVerifierInput", {"reason": "nonce should larger than the current nonce"})


def test_a_nonce_that_only_looks_larger_where_it_is_cut_to_64_bits(served: Scene) -> None:
    assert served.settle(served.provider, served.entry(served.provider, 1, 2**64)) == [INVALID_NONCE]
    assert served.settle(served.provider, served.entry(served.provider, 1, 2**256 - 1)) == [INVALID_NONCE]
    assert served.settle(served.provider, served.entry(served.provider, 1, 2**64 - 1)) == [0]
