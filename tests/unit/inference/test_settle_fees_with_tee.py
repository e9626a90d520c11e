# SPDX-License-Identifier: Apache-2.0
"""settleFeesWithTEE"""

from typing import Any

import pytest
from eth_keys.datatypes import Signature

from serving_network.messages.typed_data import INFERENCE_NAME, Domain, TEESettlement
from tests.evm import CHAIN_ID
from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import (
    DAY,
    INVALID_NONCE,
    INVALID_SIGNATURE,
    MAX_NONCE,
    NO_TEE_SIGNER,
    OTHER_TEE,
    PARTIAL,
    PROVIDER_MISMATCH,
    REVERT,
    SUCCESS,
    Fee,
    World,
)

NOBODY = "0x" + "00" * 20
# Of secp256k1.
HALF_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2
GENERATOR_X = 0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798


def settled(user: str, status: int, unsettled: int) -> Any:
    return event("TEESettlementResult", user=user, status=status, unsettledAmount=unsettled)


def balance(user: str, provider: str, amount: int, pending: int = 0) -> Any:
    return event("BalanceUpdated", user=user, provider=provider, amount=amount, pendingRefund=pending)


def test_pays_the_provider_and_remembers_the_nonce(world: World, user: str, provider: str, ready: int) -> None:
    before = world.evm.balance(provider)
    done = world.settle(Fee(user, 3 * COIN, nonce=17_637_984_000_000_001))
    assert done.result == [SUCCESS]
    assert done.events == [balance(user, provider, ready - 3 * COIN), settled(user, SUCCESS, 0)]
    assert world.evm.balance(provider) == before + 3 * COIN
    account = world.account()
    assert (account["balance"], account["nonce"]) == (ready - 3 * COIN, 17_637_984_000_000_001)
    assert account["acknowledged"] is True


def test_one_payout_for_the_whole_batch_and_one_result_per_entry_in_order(
    world: World, provider: str, ready: int, stranger: str
) -> None:
    others = [world.evm.account(f"user {place}") for place in range(3)]
    for other in others:
        world.open(other, coins=2 * COIN)
    fees = [
        world.fee(user=others[0]),
        world.fee(user=stranger),
        world.fee(user=others[1], wei=5 * COIN),
        world.fee(user=others[2], wei=0),
        world.fee(),
    ]
    before = world.evm.balance(provider)
    done = world.settle(*fees)
    assert done.result == [SUCCESS, INVALID_SIGNATURE, PARTIAL, SUCCESS, SUCCESS]
    assert done.events == [
        balance(others[0], provider, COIN),
        settled(others[0], SUCCESS, 0),
        settled(stranger, INVALID_SIGNATURE, COIN),
        balance(others[1], provider, 0),
        settled(others[1], PARTIAL, 3 * COIN),
        settled(others[2], SUCCESS, 0),
        balance(world.user, provider, ready - COIN),
        settled(world.user, SUCCESS, 0),
    ]
    assert world.evm.balance(provider) == before + 4 * COIN


def test_refuses_none_and_too_many(world: World, serving: Contract, provider: str, ready: int) -> None:  # noqa: ARG001
    assert serving.refused("settleFeesWithTEE", [], sender=provider) == error("NoSettlementsProvided")
    entry = world.signed(world.fee())
    for count in (51, 64):
        assert serving.refused("settleFeesWithTEE", [entry] * count, sender=provider) == error(
            "TooManySettlements", count=count, max=50
        )
    assert serving.refused("settleFeesWithTEE", [entry] * 65, sender=provider) is None
    assert world.settle(*[world.fee(1) for _ in range(50)]).result == [SUCCESS] * 50


class TestStatuses:
    """Every reason, and that the earlier one wins where two apply."""

    def refused(self, world: World, entry: Fee | dict[str, Any], status: int, sender: str | None = None) -> None:
        accounts = world.every("getAllAccounts")
        [asked] = world.entries(entry, provider=sender)
        done = world.settle(asked, provider=sender)
        assert done.result == [status]
        assert done.events == [settled(asked["user"], status, asked["totalFee"])]
        assert world.every("getAllAccounts") == accounts

    def test_of_another_provider(self, world: World, second: str, ready: int) -> None:  # noqa: ARG002
        world.open(provider=second)
        self.refused(world, world.signed(world.fee()), PROVIDER_MISMATCH, sender=second)

    def test_of_another_provider_comes_before_no_account(self, world: World, second: str, stranger: str) -> None:
        self.refused(world, world.signed(world.fee(user=stranger)), PROVIDER_MISMATCH, sender=second)

    def test_no_account_comes_before_no_service(self, world: World) -> None:
        self.refused(world, world.fee(), INVALID_SIGNATURE)

    def test_no_account(self, world: World, confirmed: None, stranger: str) -> None:  # noqa: ARG002
        self.refused(world, world.fee(user=stranger), INVALID_SIGNATURE)
        self.refused(world, world.fee(user=NOBODY), INVALID_SIGNATURE)

    def test_no_service(self, world: World, opened: int) -> None:  # noqa: ARG002
        self.refused(world, world.fee(), PROVIDER_MISMATCH)

    def test_service_removed(self, world: World, serving: Contract, provider: str, ready: int) -> None:  # noqa: ARG002
        serving.send("removeService", sender=provider)
        self.refused(world, world.fee(), PROVIDER_MISMATCH)

    def test_user_has_not_acknowledged(self, world: World, serving: Contract, confirmed: None) -> None:  # noqa: ARG002
        world.open(coins=0)
        serving.send("acknowledgeTEESigner", world.provider, False, sender=world.user)
        self.refused(world, world.fee(0), NO_TEE_SIGNER)

    def test_owner_has_not_confirmed(self, world: World, opened: int, registered: None) -> None:  # noqa: ARG002
        self.refused(world, world.fee(), NO_TEE_SIGNER)

    def test_owner_takes_it_back(self, world: World, serving: Contract, ready: int) -> None:  # noqa: ARG002
        serving.send("revokeTEESignerAcknowledgement", world.provider, sender=world.owner)
        self.refused(world, world.fee(), NO_TEE_SIGNER)

    def test_signer_of_zero(self, world: World, opened: int) -> None:  # noqa: ARG002
        world.register(teeSignerAddress=NOBODY)
        world.confirm()
        entry = world.signed(world.fee())
        for signature in (entry["signature"], bytes(65), b"", b"\x01" * 64 + b"\x00"):
            self.refused(world, entry | {"signature": signature}, NO_TEE_SIGNER)

    def test_no_signer_comes_before_the_nonce(self, world: World, opened: int, registered: None) -> None:  # noqa: ARG002
        self.refused(world, Fee(world.user, nonce=0), NO_TEE_SIGNER)

    def test_nonce_of_zero(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, Fee(world.user, nonce=0), INVALID_NONCE)

    def test_nonce_used(self, world: World, ready: int) -> None:  # noqa: ARG002
        world.settle(Fee(world.user, nonce=7))
        self.refused(world, Fee(world.user, nonce=7), INVALID_NONCE)
        self.refused(world, Fee(world.user, nonce=6), INVALID_NONCE)

    @pytest.mark.parametrize("nonce", [MAX_NONCE + 1, MAX_NONCE + 2, 2**65, 2**65 + 5, 2**255, 2**256 - 1])
    def test_nonce_that_does_not_fit(self, world: World, ready: int, nonce: int) -> None:  # noqa: ARG002
        self.refused(world, Fee(world.user, nonce=nonce), INVALID_NONCE)

    def test_nonce_comes_before_the_signature(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, world.signed(Fee(world.user, nonce=0)) | {"signature": b""}, INVALID_NONCE)
        self.refused(world, world.signed(Fee(world.user, nonce=2**64)) | {"signature": b""}, INVALID_NONCE)

    def test_the_largest_nonce_is_the_last(self, world: World, ready: int) -> None:  # noqa: ARG002
        assert world.settle(Fee(world.user, nonce=MAX_NONCE)).result == [SUCCESS]
        account = world.account()
        assert (account["nonce"], account["acknowledged"]) == (MAX_NONCE, True)
        self.refused(world, Fee(world.user, nonce=MAX_NONCE), INVALID_NONCE)

    def test_signed_by_another_tee(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, world.signed(world.fee(), tee=OTHER_TEE), INVALID_SIGNATURE)

    def test_signed_for_another_chain(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, world.signed(world.fee(), chain=16661), INVALID_SIGNATURE)

    def test_signed_for_another_contract(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, world.signed(world.fee(), at=world.stranger), INVALID_SIGNATURE)

    def test_signed_for_another_provider(self, world: World, ready: int) -> None:  # noqa: ARG002
        entry = world.signed(world.fee(), provider=world.second)
        self.refused(world, entry | {"provider": world.provider}, INVALID_SIGNATURE)

    @pytest.mark.parametrize(
        "change",
        [{"totalFee": COIN + 1}, {"requestsHash": bytes(32)}, {"nonce": 100}],
        ids=lambda change: next(iter(change)),
    )
    def test_changed_after_signing(self, world: World, ready: int, change: dict[str, Any]) -> None:  # noqa: ARG002
        self.refused(world, world.signed(world.fee()) | change, INVALID_SIGNATURE)

    def test_signed_for_another_user(self, world: World, stranger: str, ready: int) -> None:  # noqa: ARG002
        world.open(stranger)
        self.refused(world, world.signed(world.fee()) | {"user": stranger}, INVALID_SIGNATURE)

    def test_signature_of_the_batch_kind(self, world: World, ready: int) -> None:  # noqa: ARG002
        fee = world.fee()
        _, signature = world.batch(fee)
        self.refused(world, world.signed(fee) | {"signature": signature}, INVALID_SIGNATURE)


@pytest.mark.parametrize("length", [0, 1, 32, 64, 66, 96, 128, 130, 160])
def test_a_signature_of_any_length_stops_nobody_else(world: World, ready: int, length: int) -> None:  # noqa: ARG001
    entry = world.signed(world.fee())
    broken = entry | {"signature": (entry["signature"] * 3)[:length]}
    assert world.settle(broken, world.fee()).result == [INVALID_SIGNATURE, SUCCESS]


class TestPartial:
    def test_pays_the_whole_balance_and_stores_the_nonce(
        self, world: World, user: str, provider: str, ready: int
    ) -> None:
        done = world.settle(world.fee(ready + 5))
        assert done.result == [PARTIAL]
        assert done.events == [balance(user, provider, 0), settled(user, PARTIAL, 5)]
        account = world.account()
        assert (account["balance"], account["nonce"]) == (0, 1)

    def test_of_an_empty_account_pays_nothing_and_stores_the_nonce(self, world: World, ready: int) -> None:
        world.settle(world.fee(ready))
        done = world.settle(world.fee(1))
        assert done.result == [PARTIAL]
        assert done.events == [settled(world.user, PARTIAL, 1)]
        assert world.account()["nonce"] == 2

    @pytest.mark.parametrize("fee", [2**92, 2**96, 2**184, 2**255, 2**256 - 1])
    def test_of_any_size(self, world: World, ready: int, fee: int) -> None:
        done = world.settle(world.fee(fee))
        assert done.named("TEESettlementResult") == [
            {"user": world.user, "status": PARTIAL, "unsettledAmount": fee - ready}
        ]
        assert world.account()["balance"] == 0

    def test_the_exact_balance_is_a_success(self, world: World, ready: int) -> None:
        assert world.settle(world.fee(ready)).result == [SUCCESS]


def test_a_fee_of_nothing_stores_the_nonce_only(world: World, ready: int) -> None:
    done = world.settle(world.fee(0))
    assert done.result == [SUCCESS]
    assert done.events == [settled(world.user, SUCCESS, 0)]
    account = world.account()
    assert (account["balance"], account["nonce"]) == (ready, 1)


class TestRefundsGiveWay:
    def test_the_newest_first_and_only_as_far_as_needed(
        self,
        world: World,
        user: str,
        provider: str,
        confirmed: None,  # noqa: ARG002
    ) -> None:
        world.open(coins=0)
        times = []
        for coins in (10, 20, 30):
            world.deposit(coins)
            world.request()
            times.append(world.evm.time)
            world.evm.time += 60
        world.deposit(5)
        done = world.settle(world.fee(12))
        assert done.events[0] == balance(user, provider, 53, 53)
        refunds = world.account()["refunds"]
        assert [(refund["amount"], refund["createdAt"]) for refund in refunds] == list(
            zip((10, 20, 23), times, strict=True)
        )
        done = world.settle(world.fee(23 + 20 + 4))
        assert done.events[0] == balance(user, provider, 6, 6)
        refunds = world.account()["refunds"]
        assert [(refund["amount"], refund["createdAt"]) for refund in refunds] == [(6, times[0])]
        assert world.settle(world.fee(7)).result == [PARTIAL]
        assert world.refunds() == []

    def test_not_while_the_rest_of_the_balance_covers_the_fee(self, world: World, ready: int) -> None:
        world.request()
        world.deposit(5)
        done = world.settle(world.fee(5))
        assert done.named("BalanceUpdated")[0]["pendingRefund"] == ready
        assert world.refunds() == [ready]

    def test_of_the_same_user_twice_in_one_call(self, world: World, ready: int) -> None:
        world.request()
        done = world.settle(world.fee(COIN), world.fee(2 * COIN))
        assert [args["pendingRefund"] for args in done.named("BalanceUpdated")] == [ready - COIN, ready - 3 * COIN]
        assert world.refunds() == [ready - 3 * COIN]

    def test_a_refund_that_is_payable_already_can_still_be_charged(self, world: World, ready: int) -> None:
        world.request()
        world.evm.time += DAY
        world.settle(world.fee(COIN))
        assert world.process().result == (ready - COIN, 0, 0)


def test_repeated_users_are_carried_from_entry_to_entry(world: World, ready: int) -> None:
    first, later, last = (Fee(world.user, wei, nonce) for wei, nonce in ((ready - 1, 5), (1, 5), (2, 6)))
    done = world.settle(first, later, last)
    assert done.result == [SUCCESS, INVALID_NONCE, PARTIAL]
    account = world.account()
    assert (account["balance"], account["nonce"]) == (0, 6)


def test_nothing_is_paid_twice_after_an_account_is_opened_again(world: World, confirmed: None) -> None:  # noqa: ARG001
    world.open()
    fee = world.fee()
    world.settle(fee)
    world.close()
    world.open()
    assert world.settle(fee).result == [INVALID_NONCE]
    assert world.settle(replay_of(fee, nonce=2)).result == [SUCCESS]


def replay_of(fee: Fee, nonce: int) -> Fee:
    return Fee(fee.user, fee.wei, nonce, fee.hash)


def test_a_provider_that_cannot_receive_coins_loses_the_whole_batch(
    world: World, serving: Contract, provider: str, ready: int
) -> None:
    world.evm.set_code(provider, REVERT)
    entry = world.signed(world.fee())
    assert serving.refused("settleFeesWithTEE", [entry], sender=provider) == error("TransferFailed")
    assert world.account()["balance"] == ready
    assert world.settle(world.fee(0)).result == [SUCCESS]


def test_a_new_signer_cannot_settle_before_the_owner_confirms_it(world: World, ready: int) -> None:  # noqa: ARG001
    world.update(teeSignerAddress=OTHER_TEE.address)
    assert world.settle(world.signed(world.fee(), tee=OTHER_TEE)).result == [NO_TEE_SIGNER]
    world.confirm()
    assert world.settle(world.signed(world.fee(), tee=OTHER_TEE)).result == [SUCCESS]
    assert world.settle(world.fee()).result == [INVALID_SIGNATURE]


def test_never_calls_the_ledger(world: World, ledger: str, ready: int) -> None:  # noqa: ARG001
    world.evm.set_code(ledger, REVERT)
    assert world.settle(world.fee()).result == [SUCCESS]


def test_coins_forced_in_belong_to_nobody(world: World, serving: Contract, ready: int) -> None:
    world.forced = 3 * COIN
    world.evm.set_balance(serving.address, world.evm.balance(serving.address) + world.forced)
    assert world.settle(world.fee(ready + COIN)).result == [PARTIAL]


@pytest.mark.parametrize(("s", "status"), [(HALF_ORDER, SUCCESS), (HALF_ORDER + 1, INVALID_SIGNATURE)])
def test_s_may_be_half_the_order_and_no_more(world: World, s: int, status: int) -> None:
    """Somebody's signature with just this s: whoever it recovers to is made the signer."""
    fee = world.fee()
    digest = Domain(INFERENCE_NAME, CHAIN_ID, world.serving.address).digest(
        TEESettlement(world.provider, fee.message())
    )
    signature = Signature(vrs=(0, GENERATOR_X, s))
    signer = signature.recover_public_key_from_msg_hash(digest).to_checksum_address()
    world.register(teeSignerAddress=signer)
    world.confirm()
    world.open()
    raw = GENERATOR_X.to_bytes(32, "big") + s.to_bytes(32, "big") + b"\x1b"
    assert world.settle(world.signed(fee) | {"signature": raw}).result == [status]
