# SPDX-License-Identifier: Apache-2.0
"""settleFees"""

from dataclasses import replace
from typing import Any

import pytest

from serving_network.contracts import Decoded
from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import DAY, OTHER_TEE, REVERT, ROOT, SECRET, TEE, Settlement, World, mock

NOT_ACKNOWLEDGED = error("InvalidVerifierInput", reason="TEE signer not acknowledged")
NONCE = error("InvalidVerifierInput", reason="nonce should larger than the current nonce")
BALANCE = error("InvalidVerifierInput", reason="insufficient balance")
ROOT_HASH = error("InvalidVerifierInput", reason="model root hash mismatch")
SIGNATURE = error("InvalidVerifierInput", reason="TEE settlement validation failed")


def refusal(world: World, settlement: Settlement | dict[str, Any], *, provider: str | None = None) -> Decoded | None:
    """Why a settlement is refused; one that is not signed yet is signed as it should be."""
    signed = settlement.signed(world.serving.address) if isinstance(settlement, Settlement) else settlement
    return world.serving.refused("settleFees", signed, sender=provider or world.provider)


def test_an_acknowledged_one_is_paid_in_full(world: World, user: str, provider: str, ready: int) -> None:
    world.deliver("task")
    world.acknowledge("task")
    before = world.evm.balance(provider)
    done = world.settle(world.settlement("task", nonce=17_637_984_000_000_001, fee=3 * COIN))
    assert done.result is None
    assert done.events == [
        event(
            "FeesSettled",
            user=user,
            provider=provider,
            deliverableId="task",
            fee=3 * COIN,
            acknowledged=True,
            nonce=17_637_984_000_000_001,
        ),
        event("BalanceUpdated", user=user, provider=provider, amount=ready - 3 * COIN, pendingRefund=0),
    ]
    assert world.evm.balance(provider) == before + 3 * COIN
    account = world.account()
    assert (account["balance"], account["nonce"]) == (ready - 3 * COIN, 17_637_984_000_000_001)
    (found,) = account["deliverables"]
    assert (found["settled"], found["encryptedSecret"], found["modelRootHash"]) == (True, SECRET, ROOT)


def test_one_that_is_not_acknowledged_costs_the_penalty(world: World, user: str, provider: str, ready: int) -> None:
    world.deliver("task")
    before = world.evm.balance(provider)
    done = world.settle(world.settlement("task", secret=b"", fee=COIN + 1))
    penalty = (COIN + 1) * 30 // 100
    assert done.events == [
        event(
            "FeesSettled",
            user=user,
            provider=provider,
            deliverableId="task",
            fee=penalty,
            acknowledged=False,
            nonce=1,
        ),
        event("BalanceUpdated", user=user, provider=provider, amount=ready - penalty, pendingRefund=0),
    ]
    assert world.evm.balance(provider) == before + penalty
    (found,) = world.account()["deliverables"]
    assert (found["acknowledged"], found["settled"], found["encryptedSecret"]) == (False, True, b"")


@pytest.mark.parametrize("percentage", [0, 1, 30, 99, 100])
@pytest.mark.parametrize("fee", [0, 1, 3, 4, 99, 100, 101, 3 * COIN + 1])
def test_the_penalty_is_rounded_down(
    world: World, serving: Contract, owner: str, percentage: int, fee: int, ready: int
) -> None:
    serving.send("updatePenaltyPercentage", percentage, sender=owner)
    world.deliver("task")
    (settled, _) = world.settle(world.settlement("task", secret=b"", fee=fee)).events
    assert settled.args["fee"] == fee * percentage // 100
    assert world.account()["balance"] == ready - fee * percentage // 100


def test_checks_in_order(world: World, serving: Contract, user: str, provider: str, owner: str) -> None:
    wrong = Settlement("unknown", user, secret=b"", root=b"wrong", nonce=0, fee=11 * COIN).with_signature(b"")

    assert refusal(world, wrong) == error("AccountNotExists", user=user, provider=provider)
    world.open(user, provider, 10 * COIN)
    assert refusal(world, wrong) == error("ServiceNotExist", provider=provider)
    world.register(provider)
    assert refusal(world, wrong) == NOT_ACKNOWLEDGED
    world.confirm(provider)
    world.finish("settled")
    world.deliver("open")
    world.acknowledge("open")
    assert refusal(world, wrong) == NONCE
    wrong["nonce"] = 1
    assert refusal(world, wrong) == NONCE
    wrong["nonce"] = 2
    assert refusal(world, wrong) == BALANCE
    wrong["taskFee"] = 9 * COIN + 1
    assert refusal(world, wrong) == BALANCE
    wrong["taskFee"] = 9 * COIN
    assert refusal(world, wrong) == error("DeliverableNotExists", id="unknown")
    wrong["id"] = "settled"
    assert refusal(world, wrong) == error("DeliverableAlreadySettled", id="settled")
    wrong["id"] = "open"
    assert refusal(world, wrong) == ROOT_HASH
    wrong["modelRootHash"] = ROOT
    assert refusal(world, wrong) == SIGNATURE
    right = Settlement("open", user, secret=b"", nonce=2, fee=9 * COIN)
    assert refusal(world, right) == error("SecretShouldNotBeEmpty")
    assert refusal(world, replace(right, secret=b"s" * 1025)) == error("TextTooLong", length=1025, max=1024)
    world.settle(replace(right, secret=b"s" * 1024))
    assert world.deliverable("open")["encryptedSecret"] == b"s" * 1024
    assert serving.ask("owner") == owner


@pytest.mark.usefixtures("ready")
def test_checks_in_order_of_one_that_is_not_acknowledged(world: World, user: str, provider: str) -> None:
    world.penalise("first", fee=0)
    world.deliver("task")
    wrong = world.settlement("task", secret=b"s").with_signature(bytes(65))
    assert refusal(world, wrong) == SIGNATURE
    assert refusal(world, world.settlement("task", secret=b"s")) == error("SecretShouldBeEmpty")
    assert refusal(world, world.settlement("task", secret=b"")) == error(
        "UserActionRequired", user=user, provider=provider
    )
    world.deposit(0)
    world.settle(world.settlement("task", secret=b""))


@pytest.mark.usefixtures("confirmed")
@pytest.mark.parametrize("name", ["", "x" * 257, "x" * 500])
def test_an_id_that_none_can_have(world: World, user: str, provider: str, name: str) -> None:
    world.open(user, provider)
    assert refusal(world, world.settlement(name)) == error("DeliverableNotExists", id=name)


@pytest.mark.usefixtures("confirmed")
def test_needs_the_users_acknowledgement(world: World, serving: Contract, user: str, provider: str) -> None:
    world.open(user, provider, 0)
    world.deliver("task")
    world.acknowledge("task")
    serving.send("acknowledgeTEESigner", provider, False, sender=user)
    settlement = world.settlement("task", fee=0)
    assert refusal(world, settlement) == NOT_ACKNOWLEDGED
    serving.send("acknowledgeTEESigner", provider, True, sender=user)
    world.settle(settlement)


@pytest.mark.usefixtures("ready")
def test_needs_the_owners_confirmation_of_the_present_signer(world: World, provider: str) -> None:
    world.deliver("task")
    world.acknowledge("task")
    settlement = world.settlement("task")
    world.update(provider, teeSignerAddress=OTHER_TEE.address)
    assert refusal(world, settlement) == NOT_ACKNOWLEDGED
    world.confirm(provider)
    assert refusal(world, settlement) == SIGNATURE
    signed = settlement.signed(world.serving.address, tee=OTHER_TEE)
    world.serving.send("settleFees", signed, sender=provider)


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("nonce", [2**64, 2**64 + 1, 2**256 - 1])
def test_a_nonce_past_64_bits_is_refused_as_one_that_is_used(world: World, nonce: int) -> None:
    world.deliver("task")
    world.acknowledge("task")
    assert refusal(world, world.settlement("task", nonce=nonce)) == NONCE
    world.settle(world.settlement("task", nonce=2**64 - 1))
    world.deliver("next")
    assert refusal(world, world.settlement("next", secret=b"", nonce=2**64 - 1)) == NONCE
    assert world.account()["nonce"] == 2**64 - 1


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("fee", [10 * COIN + 1, 2**92, 2**256 - 1])
def test_the_balance_covers_the_full_fee_also_for_a_penalty(world: World, fee: int) -> None:
    world.deliver("task")
    assert refusal(world, world.settlement("task", secret=b"", fee=fee)) == BALANCE
    world.settle(world.settlement("task", secret=b"", fee=10 * COIN))
    assert world.account()["balance"] == 7 * COIN


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("root", [b"", ROOT[:-1], ROOT + b"\x00", b"r" * 1024, b"r" * 1200])
def test_another_root_hash(world: World, root: bytes) -> None:
    world.deliver("task")
    world.acknowledge("task")
    assert refusal(world, world.settlement("task", root=root)) == ROOT_HASH


@pytest.mark.usefixtures("ready")
def test_id_and_root_hash_cannot_be_shifted(world: World) -> None:
    world.deliver("taska", root=b"b")
    world.acknowledge("taska")
    world.deliver("task", root=b"x")
    assert refusal(world, world.settlement("task", root=b"ab", secret=b"")) == ROOT_HASH
    world.settle(world.settlement("taska", root=b"b"))


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("length", [0, 1, 64, 66, 128, 129, 400])
def test_a_signature_of_any_length(world: World, length: int) -> None:
    world.deliver("task")
    settlement = world.settlement("task", secret=b"")
    good = settlement.signed(world.serving.address)["signature"]
    assert refusal(world, settlement.with_signature((good + bytes(400))[:length])) == SIGNATURE


@pytest.mark.usefixtures("ready")
def test_a_signature_in_another_shape(world: World) -> None:
    world.deliver("task")
    settlement = world.settlement("task", secret=b"")
    good = settlement.signed(world.serving.address)["signature"]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = int.from_bytes(good[32:64], "big")
    malleable = good[:32] + (order - s).to_bytes(32, "big") + bytes([55 - good[64]])
    for signature in (malleable, good[:64] + bytes([good[64] - 27]), good[:64] + b"\x00", bytes(65)):
        assert refusal(world, settlement.with_signature(signature)) == SIGNATURE


@pytest.mark.usefixtures("ready")
def test_every_part_is_signed(world: World, serving: Contract, provider: str, stranger: str) -> None:
    world.open(stranger, provider)
    for user in (world.user, stranger):
        world.deliver("task", user=user)
        world.acknowledge("task", user=user)
        world.deliver("other", user=user)
        world.acknowledge("other", user=user)
    signed = world.settlement("task").signed(serving.address)
    changes: list[dict[str, Any]] = [
        {"id": "other"},
        {"encryptedSecret": SECRET + b"\x00"},
        {"nonce": signed["nonce"] + 1},
        {"taskFee": signed["taskFee"] - 1},
        {"user": stranger},
    ]
    for change in changes:
        assert refusal(world, signed | change) == SIGNATURE
    serving.send("settleFees", signed, sender=provider)


@pytest.mark.usefixtures("ready")
def test_a_signature_for_another_chain_or_contract_or_provider(
    world: World, serving: Contract, user: str, second: str, ledger: str
) -> None:
    world.deliver("task")
    settlement = world.settlement("task", secret=b"")
    assert refusal(world, settlement.signed(serving.address, chain=16661)) == SIGNATURE
    assert refusal(world, settlement.signed(ledger)) == SIGNATURE
    world.open(user, second)
    world.register(second, teeSignerAddress=OTHER_TEE.address)
    world.confirm(second)
    world.deliver("task", provider=second)
    assert refusal(world, settlement, provider=second) == SIGNATURE
    assert TEE.address != OTHER_TEE.address


@pytest.mark.usefixtures("ready")
def test_nothing_is_settled_twice(world: World) -> None:
    world.deliver("task")
    world.acknowledge("task")
    settlement = world.settlement("task")
    world.settle(settlement)
    assert refusal(world, settlement) == NONCE
    assert refusal(world, world.settlement("task")) == error("DeliverableAlreadySettled", id="task")


@pytest.mark.usefixtures("ready")
def test_a_created_again_account_is_not_charged_again(world: World, user: str, provider: str) -> None:
    world.deliver("task")
    world.acknowledge("task")
    settlement = world.settlement("task")
    world.settle(settlement)
    world.empty_account()
    world.delete()
    world.open(user, provider)
    world.deliver("task")
    world.acknowledge("task")
    assert refusal(world, settlement) == NONCE


def test_refunds_give_way_newest_first(world: World, user: str, provider: str, ready: int) -> None:
    world.deliver("task")
    world.acknowledge("task")
    asked = world.evm.time
    world.request()
    world.evm.time += 60
    world.deposit(2 * COIN)
    world.request()
    world.deposit(COIN)
    done = world.settle(world.settlement("task", fee=4 * COIN))
    assert done.events[1] == event(
        "BalanceUpdated", user=user, provider=provider, amount=ready - COIN, pendingRefund=ready - COIN
    )
    account = world.account()
    assert [(one["amount"], one["createdAt"]) for one in account["refunds"]] == [(ready - COIN, asked)]


@pytest.mark.parametrize("fee", [0, 10 * COIN])
def test_of_nothing_and_of_everything(world: World, serving: Contract, provider: str, fee: int, ready: int) -> None:
    world.deliver("task")
    world.acknowledge("task")
    before = world.evm.balance(provider)
    done = world.settle(world.settlement("task", fee=fee))
    assert [name for name, _ in done.events] == ["FeesSettled", "BalanceUpdated"]
    assert world.account()["balance"] == ready - fee
    assert world.account()["nonce"] == 1
    assert world.evm.balance(provider) == before + fee
    assert serving.ask("accountExists", world.user, provider)


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("fee", [0, COIN])
def test_a_provider_that_refuses_coins(world: World, provider: str, fee: int) -> None:
    world.deliver("task")
    world.acknowledge("task")
    world.evm.set_code(provider, REVERT)
    settlement = world.settlement("task", fee=fee)
    assert refusal(world, settlement) == error("ETHTransferFailed")
    world.evm.set_code(provider, b"")
    world.settle(settlement)


def act_by_transfer(world: World) -> None:
    world.deposit(0)


def act_by_deliverable(world: World) -> None:
    world.acknowledge("second")
    world.settle(world.settlement("second", fee=0))
    world.deliver("third")


def act_by_signer(world: World) -> None:
    world.serving.send("acknowledgeTEESigner", world.provider, True, sender=world.user)


def act_by_opening_again(world: World) -> None:
    world.empty_account()
    world.delete()
    world.open(world.user, world.provider)
    world.deliver("third")


@pytest.mark.parametrize("act", [act_by_transfer, act_by_deliverable, act_by_signer, act_by_opening_again])
@pytest.mark.usefixtures("ready")
def test_a_second_penalty_needs_an_act_of_the_user(world: World, user: str, provider: str, act: Any) -> None:
    world.penalise("first")
    world.deliver("second")
    assert refusal(world, world.settlement("second", secret=b"")) == error(
        "UserActionRequired", user=user, provider=provider
    )
    act(world)
    world.settle(world.settlement(world.ids()[-1], secret=b""))
    world.deliver("fourth")
    assert refusal(world, world.settlement("fourth", secret=b"")) == error(
        "UserActionRequired", user=user, provider=provider
    )


@pytest.mark.usefixtures("ready")
def test_nobody_else_acts_for_the_user(
    world: World, serving: Contract, user: str, provider: str, owner: str, second: str
) -> None:
    world.deliver("early")
    world.acknowledge("early")
    world.penalise("first")
    world.deliver("second")
    world.open(user, second)
    world.deliver("other", provider=second)
    world.acknowledge("other", provider=second)
    world.request()
    world.evm.time += DAY - 1
    world.process()
    world.confirm(provider)
    serving.send("updatePenaltyPercentage", 1, sender=owner)
    world.update(provider, pricePerToken=8)
    world.settle(world.settlement("early"))
    assert refusal(world, world.settlement("second", secret=b"")) == error(
        "UserActionRequired", user=user, provider=provider
    )
    serving.send("abandonDeliverable", user, "second", sender=provider)
    world.deliver("third")
    assert refusal(world, world.settlement("third", secret=b"")) == error(
        "UserActionRequired", user=user, provider=provider
    )


@pytest.mark.usefixtures("ready")
def test_what_is_acknowledged_is_paid_after_a_penalty_too(world: World) -> None:
    world.penalise("first")
    world.finish("second")
    assert world.account()["balance"] == 10 * COIN - 3 * COIN // 10 - COIN


def test_a_provider_that_calls_back_gets_nothing_twice(world: World, serving: Contract, user: str, owner: str) -> None:
    receiver = mock(world.evm, "Receiver", sender=owner)
    address = receiver.address
    world.evm.set_balance(address, 1000 * COIN)
    world.register(address)
    world.confirm(address)
    world.open(user, address)
    for name in ("first", "second"):
        world.deliver(name, provider=address)
        world.acknowledge(name, provider=address)
    first, second = world.settlement("first"), world.settlement("second")
    calls = [
        (serving.interface.encode("settleFees", first.signed(serving.address)), NONCE),
        (serving.interface.encode("settleFees", second.signed(serving.address)), error("PayoutInProgress")),
        (serving.interface.encode("removeService"), error("PayoutInProgress")),
    ]
    for data, expected in calls:
        mark = world.evm.snapshot()
        receiver.send("on_coins", serving.address, data, sender=owner)
        world.settle(first, provider=address)
        assert not receiver.ask("succeeded")
        assert serving.interface.decode_error(receiver.ask("answer")) == expected
        assert world.account(user, address)["balance"] == 9 * COIN
        world.evm.revert(mark)
