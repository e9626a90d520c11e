# SPDX-License-Identifier: Apache-2.0
"""The provider's client, on the real contracts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serving_network.clients import SignedSettlement
from serving_network.clients.doctor import examine_fine_tuning, examine_inference, first_failure
from serving_network.contracts.errors import (
    CannotAbandonSettledDeliverable,
    DeliverableAlreadyExists,
    InsufficientStake,
    PreviousDeliverableNotAcknowledged,
    SecretShouldBeEmpty,
    ServiceNotExist,
    TEESignerNotAcknowledged,
    VerifierNonceTooLow,
    VerifierSignatureInvalid,
)
from serving_network.contracts.models import Offer, Status
from serving_network.errors import InvalidInput
from serving_network.messages.typed_data import (
    TEESettlement,
    TEESettlementBatch,
    UserSettlement,
    VerifierMessage,
)
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World

HASH = bytes(range(32))
ROOT = b"model-root"


def signed(world: World, user: str, fee: int, nonce: int) -> SignedSettlement:
    """A settlement as the provider's TEE signs it."""
    row = UserSettlement(user, fee, nonce, HASH)
    message = TEESettlement(world.provider.address, row)
    return SignedSettlement(row, world.tee_signer.sign_typed(message, 31337, world.provider.service().address))


def task(world: World, **changes: object) -> tuple[VerifierMessage, bytes]:
    """A fine-tuning settlement as the provider's TEE signs it."""
    usual: dict[str, object] = {
        "id": "task-1",
        "encrypted_secret": b"secret",
        "model_root_hash": ROOT,
        "nonce": 1,
        "task_fee": COIN,
        "user": world.user.address,
    }
    message = VerifierMessage(**(usual | changes))  # type: ignore[arg-type]
    return message, world.tee_signer.sign_typed(message, 31337, world.provider.service("fine-tuning").address)


def with_task(world: World) -> None:
    """A provider of fine-tuning, a user with an account, and a deliverable between them."""
    world.provider.register(world.fine_tuning_offer())
    world.owner.confirm(world.provider.address, "fine-tuning")
    world.user.open_ledger(10 * COIN)
    world.user.fund(world.provider.address, 5 * COIN, "fine-tuning")
    world.provider.add_deliverable(world.user.address, "task-1", ROOT)


def test_registering_uses_the_minimum_stake_by_default(world: World) -> None:
    before = world.connection.balance(world.provider.address)
    receipt = world.provider.register(world.offer())
    assert before - world.connection.balance(world.provider.address) == 100 * COIN + receipt.cost
    registered = world.provider.offer(world.provider.address)
    assert registered is not None
    assert registered.offer == world.offer()
    assert not registered.confirmed


def test_registering_with_too_little_or_twice_is_refused(world: World) -> None:
    with pytest.raises(InsufficientStake) as failure:
        world.provider.register(world.offer(), 99 * COIN)
    assert failure.value.next_step == 'serving service register --stake "100 coins"'
    world.provider.register(world.offer())
    with pytest.raises(InvalidInput, match="already"):
        world.provider.register(world.offer())


def test_an_offer_for_another_kind_of_service_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="takes no"):
        world.provider.register(world.offer(), service="fine-tuning")


def test_an_update_reports_a_lost_confirmation(world: World) -> None:
    with pytest.raises(ServiceNotExist):
        world.provider.update_costs(world.offer())
    world.with_account()
    assert world.provider.update_costs(world.offer(url="https://new.example", input_price=1)) == []
    assert world.provider.update_costs(world.offer(model="other", additional_info="x")) == ["model", "additional_info"]
    world.provider.update(world.offer(url="https://new.example"))
    kept = world.provider.offer(world.provider.address)
    assert kept is not None
    assert kept.confirmed
    world.provider.update(world.offer(model="other"))
    lost = world.provider.offer(world.provider.address)
    assert lost is not None
    assert isinstance(lost.offer, Offer)
    assert (lost.confirmed, lost.offer.model) == (False, "other")
    assert world.provider.update_costs(world.offer()) == []


def test_removing_returns_the_stake(world: World) -> None:
    world.with_account(10 * COIN, 4 * COIN)
    (account,) = world.provider.open_accounts()
    assert account.balance == 4 * COIN
    before = world.connection.balance(world.provider.address)
    receipt = world.provider.remove()
    assert world.connection.balance(world.provider.address) == before + 100 * COIN - receipt.cost
    assert world.provider.offer(world.provider.address) is None


def test_a_preview_equals_the_settlement(world: World) -> None:
    """Every possible outcome of an entry, with one user twice: the preview equals the result."""
    world.with_account(10 * COIN, 3 * COIN)
    good = signed(world, world.user.address, COIN, 1)
    entries = [
        good,
        good,
        signed(world, world.user.address, 5 * COIN, 2),
        replace(signed(world, world.user.address, 1, 3), signature=bytes(65)),
        signed(world, world.stranger.address, COIN, 1),
    ]
    foreseen = world.provider.preview(entries)
    settled = world.provider.settle(entries)
    assert foreseen == settled
    assert [one.status for one in settled] == [
        Status.SUCCESS,
        Status.INVALID_NONCE,
        Status.PARTIAL,
        Status.INVALID_SIGNATURE,
        Status.INVALID_SIGNATURE,
    ]
    assert [one.paid for one in settled] == [COIN, 0, 2 * COIN, 0, 0]
    assert settled[2].unsettled == 3 * COIN


def test_many_settlements_are_split_and_listed_as_earnings(world: World) -> None:
    world.with_account(10 * COIN, 5 * COIN)
    entries = [signed(world, world.user.address, 1000 + number, number + 1) for number in range(53)]
    before = world.connection.balance(world.provider.address)
    outcomes = world.provider.settle(entries)
    assert all(one.status is Status.SUCCESS for one in outcomes)
    earnings = world.provider.earnings()
    assert [one.paid for one in earnings] == [1000 + number for number in range(53)]
    assert len({one.transaction_hash for one in earnings}) == 2
    assert sum(one.paid for one in earnings) > 0
    assert world.connection.balance(world.provider.address) < before


def test_a_batch_under_one_signature(world: World) -> None:
    world.with_account(10 * COIN, 3 * COIN)
    assert world.provider.supports_batches()
    assert not world.provider.supports_batches("fine-tuning")
    rows = [UserSettlement(world.user.address, COIN, 1, HASH), UserSettlement(world.user.address, 3 * COIN, 2, HASH)]
    batch = TEESettlementBatch(world.provider.address, rows)
    signature = world.tee_signer.sign_typed(batch, 31337, world.provider.service().address)
    foreseen = world.provider.preview_batch(rows, signature)
    settled = world.provider.settle_batch(rows, signature)
    assert foreseen == settled
    assert [(one.status, one.paid) for one in settled] == [(Status.SUCCESS, COIN), (Status.PARTIAL, 2 * COIN)]
    assert [one.paid for one in world.provider.earnings()] == [COIN, 2 * COIN]


def test_accounts_are_read_in_batches(world: World) -> None:
    world.with_account()
    users = [world.user.address, *(f"0x{number:040x}" for number in range(0x1000, 0x1000 + 600))]
    found = world.provider.accounts_with(world.provider.address, users)
    assert list(found) == [world.user.address]


def test_the_doctor_checks_an_inference_payment(world: World) -> None:
    core = world.user.core

    def next_step(settlement: SignedSettlement | None = None) -> str | None:
        checks = world.user.runner.run(
            examine_inference(core, world.user.address, world.provider.address, settlement=settlement)
        )
        failed = first_failure(checks)
        return failed.next_step if failed else None

    assert "serving ledger open '3 coins'" in str(next_step())
    world.user.open_ledger(10 * COIN)
    assert "serving service register" in str(next_step())
    world.provider.register(world.offer())
    assert "serving signer confirm" in str(next_step())
    world.owner.confirm(world.provider.address)
    assert f"serving ledger fund {world.provider.address} '1 coin'" in str(next_step())
    world.user.fund(world.provider.address, 2 * COIN)
    assert next_step() is None
    assert next_step(signed(world, world.user.address, COIN, 1)) is None
    assert "larger nonce" in str(next_step(signed(world, world.user.address, COIN, 0)))
    forged = replace(signed(world, world.user.address, COIN, 1), signature=bytes(65))
    assert "TEE signer" in str(next_step(forged))
    assert "'3 coins'" in str(next_step(signed(world, world.user.address, 5 * COIN, 1)))


def test_a_deliverable_from_delivery_to_payment(world: World) -> None:
    with_task(world)
    with pytest.raises(PreviousDeliverableNotAcknowledged):
        world.provider.add_deliverable(world.user.address, "task-2", ROOT)
    world.user.acknowledge_deliverable(world.provider.address, "task-1")
    with pytest.raises(DeliverableAlreadyExists):
        world.provider.add_deliverable(world.user.address, "task-1", ROOT)
    world.provider.settle_deliverable(*task(world))
    found = world.provider.deliverable(world.user.address, world.provider.address, "task-1")
    assert (found.settled, found.acknowledged, found.encrypted_secret) == (True, True, b"secret")
    (earning,) = world.provider.earnings("fine-tuning")
    assert (earning.paid, earning.reason, earning.user) == (COIN, "in full", world.user.address)
    with pytest.raises(CannotAbandonSettledDeliverable):
        world.provider.abandon_deliverable(world.user.address, "task-1")


def test_an_unacknowledged_deliverable_costs_the_penalty(world: World) -> None:
    with_task(world)
    with pytest.raises(SecretShouldBeEmpty):
        world.provider.settle_deliverable(*task(world))
    world.provider.settle_deliverable(*task(world, encrypted_secret=b""))
    (earning,) = world.provider.earnings("fine-tuning")
    assert (earning.paid, earning.reason) == (COIN * 30 // 100, "penalty")


def test_an_abandoned_deliverable_does_not_block_the_next(world: World) -> None:
    with_task(world)
    world.provider.abandon_deliverable(world.user.address, "task-1")
    world.provider.add_deliverable(world.user.address, "task-2", ROOT)
    assert [one.id for one in world.provider.deliverables(world.user.address, world.provider.address)] == [
        "task-1",
        "task-2",
    ]


def test_the_doctor_makes_the_eight_checks_in_their_order(world: World) -> None:
    core = world.user.core

    def failed(message: VerifierMessage, signature: bytes) -> str | None:
        checks = world.user.runner.run(
            examine_fine_tuning(core, message.user, world.provider.address, message=message, signature=signature)
        )
        found = first_failure(checks)
        return found.name if found else None

    assert failed(*task(world)) == "ledger"
    with_task(world)
    world.owner.revoke(world.provider.address, "fine-tuning")
    assert failed(*task(world)) == "confirmed by the owner"
    with pytest.raises(TEESignerNotAcknowledged):
        world.provider.settle_deliverable(*task(world))
    world.owner.confirm(world.provider.address, "fine-tuning")
    assert failed(*task(world, nonce=0)) == "nonce"
    with pytest.raises(VerifierNonceTooLow):
        world.provider.settle_deliverable(*task(world, nonce=0))
    assert failed(*task(world, task_fee=6 * COIN)) == "balance"
    assert failed(*task(world, id="task-9")) == "deliverable exists"
    assert failed(*task(world, model_root_hash=b"other")) == "model root hash"
    assert failed(task(world)[0], bytes(65)) == "signature"
    with pytest.raises(VerifierSignatureInvalid):
        world.provider.settle_deliverable(task(world)[0], bytes(65))
    assert failed(*task(world)) == "secret"
    assert failed(*task(world, encrypted_secret=b"")) is None
    world.provider.settle_deliverable(*task(world, encrypted_secret=b""))
    assert failed(*task(world, nonce=2, encrypted_secret=b"")) == "not settled yet"
