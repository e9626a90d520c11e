# SPDX-License-Identifier: Apache-2.0
"""Whoever receives coins calls back before the payout is over, as user, provider or service."""

import pytest

from tests.attacks.scene import Scene
from tests.stateful.model import Mood
from tests.stateful.world import FINE_TUNING, INFERENCE, INTERFACES, LEDGER
from tests.unit.contract import COIN


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("refundAll", ()),
        ("refund", (COIN,)),
        ("deleteLedger", ()),
        ("transferFund", ("provider", INFERENCE, COIN)),
        ("retrieveFund", ("providers", INFERENCE)),
        ("addLedger", ("",)),
        ("updateAdditionalInfo", ("again",)),
    ],
)
def test_a_user_during_a_refund(scene: Scene, name: str, args: tuple[object, ...]) -> None:
    """The ledger is locked for that user: nothing happens in the call back, and the refund is paid once."""
    user = scene.user_contract
    scene.do(LEDGER, "addLedger", "", sender=user, value=10 * COIN)
    people: dict[object, object] = {"provider": scene.provider, "providers": [scene.provider]}
    args = tuple(people.get(arg, arg) for arg in args)
    scene.set_mood(user, Mood(to=scene.addresses[LEDGER], name=name, args=args))
    before = scene.evm.balance(user)
    events = scene.do(LEDGER, "refund", 4 * COIN, sender=user).events
    assert [name for _, name, _ in events] == ["Refunded"]
    assert scene.evm.balance(user) == before + 4 * COIN


@pytest.mark.parametrize("where", [INFERENCE, FINE_TUNING])
def test_a_provider_during_the_return_of_its_stake(scene: Scene, where: str) -> None:
    provider = scene.provider_contract
    scene.register(provider, where)
    scene.set_mood(provider, Mood(to=scene.addresses[where], name="removeService"))
    before = scene.evm.balance(provider)
    scene.do(where, "removeService", sender=provider)
    assert scene.evm.balance(provider) == before + 100 * COIN
    assert scene.coins(where) == 0


def test_a_provider_during_a_settlement(scene: Scene) -> None:
    """The same entries again are too old; others would be a second payout inside the first, which is refused."""
    provider = scene.provider_contract
    scene.register(provider)
    scene.fund(provider)
    first, second = scene.entry(provider, COIN, 1), scene.entry(provider, COIN, 2)
    for again in (first, second):
        scene.set_mood(provider, Mood(to=scene.addresses[INFERENCE], name="settleFeesWithTEE", args=([again],)))
        nonce = 1 if again is first else 3
        before = scene.evm.balance(provider)
        assert scene.settle(provider, scene.entry(provider, COIN, nonce)) == [0]
        assert scene.evm.balance(provider) == before + COIN
        scene.set_mood(provider, None)
    assert scene.balance_of(scene.user, provider) == 3 * COIN


def test_a_provider_during_a_fine_tuning_settlement(scene: Scene) -> None:
    provider = scene.provider_contract
    scene.register(provider, FINE_TUNING)
    scene.fund(provider, FINE_TUNING)
    scene.do(FINE_TUNING, "addDeliverable", scene.user, "job", b"root", sender=provider)
    task = scene.task("job", COIN, 1)
    scene.set_mood(provider, Mood(to=scene.addresses[FINE_TUNING], name="settleFees", args=(task,)))
    before = scene.evm.balance(provider)
    scene.do(FINE_TUNING, "settleFees", task, sender=provider)
    assert scene.evm.balance(provider) == before + COIN * 30 // 100


CALLS_BACK: list[tuple[str, tuple[object, ...]]] = [
    ("spendFund", ("user", COIN)),
    ("refundAll", ()),
    ("depositFundFor", ("user",)),
    ("transferFund", ("provider", "hostile-v1", COIN)),
    ("retrieveFund", ("providers", "hostile-v1")),
    ("deleteLedger", ()),
]


@pytest.mark.parametrize(("name", "args"), CALLS_BACK)
def test_a_hostile_service_in_every_call_it_gets(bare: Scene, name: str, args: tuple[object, ...]) -> None:
    """Called back in transfers, retrievals and deletions, the ledger keeps every coin for whom it belongs to."""
    bare.do(LEDGER, "addLedger", "", sender=bare.other_user, value=10 * COIN)
    people: dict[object, object] = {"user": bare.user, "provider": bare.provider, "providers": [bare.provider]}
    given = [people.get(arg, arg) for arg in args]
    liar, interface = bare.compiled("Liar.vy", bare.addresses[LEDGER])
    assert bare.raw(LEDGER, "registerService", "hostile", "v1", liar, "", sender=bare.owner).success
    plan = interface.encode("plan", COIN, COIN, False, INTERFACES[LEDGER].encode(name, *given))
    assert bare.evm.send(liar, plan, sender=bare.stranger).success

    assert bare.raw(LEDGER, "transferFund", bare.provider, "hostile-v1", COIN, sender=bare.user).success
    assert bare.raw(LEDGER, "retrieveFund", [bare.provider], "hostile-v1", sender=bare.user).success
    assert bare.coins(LEDGER) == 30 * COIN
    assert bare.raw(LEDGER, "refundAll", sender=bare.user).success
    assert bare.coins(LEDGER) == 10 * COIN
    assert bare.evm.view(liar, interface.encode("answered", 0), sender=bare.stranger).output[-1] == 0
