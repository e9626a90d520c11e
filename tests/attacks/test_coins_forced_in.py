# SPDX-License-Identifier: Apache-2.0
"""Coins that arrive by self-destruct must not become anybody's credit, nor stop anybody's refund."""

from tests.attacks.scene import Scene, reason
from tests.stateful.world import FINE_TUNING, INFERENCE, INTERFACES, LEDGER
from tests.unit.contract import COIN


def test_they_belong_to_nobody_and_disturb_nobody(scene: Scene) -> None:
    scene.register(scene.provider)
    scene.fund(scene.provider)
    for where in (LEDGER, INFERENCE, FINE_TUNING):
        scene.force_coins(where, 7 * COIN)
    assert scene.ask(LEDGER, "getLedger", scene.user)["totalBalance"] == 20 * COIN
    assert scene.settle(scene.provider, scene.entry(scene.provider, COIN, 1)) == [0]
    scene.leave()
    scene.do(INFERENCE, "removeService", sender=scene.provider)
    for where in (LEDGER, INFERENCE, FINE_TUNING):
        assert scene.coins(where) == 7 * COIN


def test_a_plain_payment_is_turned_away(scene: Scene) -> None:
    for where in (LEDGER, INFERENCE, FINE_TUNING):
        outcome = scene.evm.send(scene.addresses[where], b"", sender=scene.stranger, value=1)
        assert reason(outcome, where) == ("DirectDepositsDisabled", {})
        assert "DirectDepositsDisabled" in str(INTERFACES[where].decode_error(outcome.output))


def test_a_service_cannot_credit_coins_that_it_sent_earlier(bare: Scene) -> None:
    """Only what arrives during the very call counts: coins sent before are not found again by a later retrieval."""
    liar, interface = bare.compiled("Liar.vy", bare.addresses[LEDGER])
    assert bare.raw(LEDGER, "registerService", "hostile", "v1", liar, "", sender=bare.owner).success
    assert bare.raw(LEDGER, "transferFund", bare.provider, "hostile-v1", COIN, sender=bare.user).success
    bare.force_coins(LEDGER, 5 * COIN)
    plan = interface.encode("plan", 0, 5 * COIN, False, b"")
    assert bare.evm.send(liar, plan, sender=bare.stranger).success
    outcome = bare.raw(LEDGER, "retrieveFund", [bare.provider], "hostile-v1", sender=bare.user)
    assert reason(outcome) == ("RefundMismatch", {"received": 0, "reported": 5 * COIN})
