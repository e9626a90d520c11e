# SPDX-License-Identifier: Apache-2.0
"""A receiver or a service answers with a megabyte, so that whoever copies the answer runs out of gas."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.world import INFERENCE, INTERFACES, LEDGER
from tests.unit.contract import COIN

BOMB = "620fffff5f"
RETURNS = bytes.fromhex(BOMB + "f3")
REVERTS = bytes.fromhex(BOMB + "fd")


@pytest.mark.parametrize("bomb", [RETURNS, REVERTS], ids=["returned", "reverted"])
def test_a_service_that_bombs_every_question_does_not_hold_a_refund_up(bare: Scene, bomb: bytes) -> None:
    """It is registered and used while it behaves, and bombs from then on."""
    liar, _ = bare.compiled("Liar.vy", bare.addresses[LEDGER])
    assert bare.raw(LEDGER, "registerService", "hostile", "v1", liar, "", sender=bare.owner).success
    assert bare.raw(LEDGER, "transferFund", bare.provider, "hostile-v1", COIN, sender=bare.user).success
    bare.evm.set_code(liar, bomb)
    before = bare.evm.balance(bare.user)
    refunded = bare.raw(LEDGER, "refundAll", sender=bare.user)
    assert refunded.success
    assert bare.evm.balance(bare.user) == before + 19 * COIN
    assert refunded.gas_used < 2_000_000


def test_a_service_that_bombs_cannot_be_registered(bare: Scene) -> None:
    for bomb in (RETURNS, REVERTS):
        service = bare.install(bomb)
        outcome = bare.raw(LEDGER, "registerService", "hostile", "v1", service, "", sender=bare.owner)
        refused = INTERFACES[LEDGER].decode_error(outcome.output)
        assert refused == ("ServiceMustImplementIServing", {"serviceAddress": service})


def test_a_provider_that_bombs_pays_for_its_own_megabyte_and_is_paid(bare: Scene) -> None:
    provider = bare.provider_contract
    bare.register(provider)
    bare.fund(provider)
    entry = bare.entry(provider, COIN, 1)
    bare.evm.set_code(provider, RETURNS)
    data = INTERFACES[INFERENCE].encode("settleFeesWithTEE", [entry])
    before = bare.evm.balance(provider)
    done = bare.evm.send(bare.addresses[INFERENCE], data, sender=provider)
    assert done.success
    assert bare.evm.balance(provider) == before + COIN
