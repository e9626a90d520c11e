# SPDX-License-Identifier: Apache-2.0
"""Strangers lengthen lists until somebody else's call no longer fits a block. No list that a call walks is theirs."""

from tests.attacks.scene import Scene
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER
from tests.unit.contract import COIN


def test_a_full_ring_of_deliverables_does_not_make_leaving_dearer(scene: Scene) -> None:
    """A provider alone can fill the ring; forgetting it costs the same whatever is in it."""
    spent = []
    for count in (1, 20):
        scene.begin()
        scene.register(scene.provider, FINE_TUNING)
        scene.fund(scene.provider, FINE_TUNING)
        for number in range(count):
            name = f"{number}".ljust(256, "x")
            scene.do(FINE_TUNING, "addDeliverable", scene.user, name, b"r" * 1024, sender=scene.provider)
            scene.do(FINE_TUNING, "abandonDeliverable", scene.user, name, sender=scene.provider)
        for _ in range(2):
            scene.do(LEDGER, "retrieveFund", [scene.provider], FINE_TUNING, sender=scene.user)
            scene.wait(86_400)
        before = scene.evm.balance(scene.user)
        scene.model.transact(scene.addresses[LEDGER], "refundAll", sender=scene.user)
        outcome = scene.raw(LEDGER, "refundAll", sender=scene.user)
        assert outcome.success
        assert scene.evm.balance(scene.user) > before
        spent.append(outcome.gas_used)
    assert spent[1] <= spent[0] + 1_000


def test_other_users_of_the_same_provider_do_not_make_a_settlement_or_a_deletion_dearer(scene: Scene) -> None:
    spent = []
    for crowd in (3, 40):
        scene.begin()
        scene.register(scene.provider)
        for number in range(crowd):
            person = scene.evm.account(f"crowd {number}")
            scene.model.coins[person] = 10**27
            scene.do(LEDGER, "addLedger", "", sender=person, value=3 * COIN)
            scene.do(LEDGER, "transferFund", scene.provider, INFERENCE, COIN, sender=person)
        scene.fund(scene.provider)
        for _ in range(2):
            scene.do(LEDGER, "retrieveFund", [scene.provider], INFERENCE, sender=scene.user)
            scene.wait(86_400)
        scene.model.transact(scene.addresses[LEDGER], "refundAll", sender=scene.user)
        spent.append(scene.raw(LEDGER, "refundAll", sender=scene.user).gas_before_refunds)
    assert spent[1] <= spent[0] + 1_000


def test_pages_stay_within_their_limit_for_any_offset_and_limit(scene: Scene) -> None:
    for offset, limit in ((0, 2**256 - 1), (2**256 - 1, 2**256 - 1), (1, 2**256 - 1), (2**255, 50)):
        page, total = scene.ask(LEDGER, "getAllLedgers", offset, limit)
        assert total == 1
        assert len(page) == (1 if offset == 0 else 0)
