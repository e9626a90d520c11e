# SPDX-License-Identifier: Apache-2.0
"""settleBatchWithTEE"""

from typing import Any

import pytest
from eth_utils import keccak, to_checksum_address

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import (
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
    statuses_of,
)

NOBODY = "0x" + "00" * 20


def settled(user: str, status: int, paid: int, balance: int) -> Any:
    return event("BatchRowSettled", user=user, status=status, paid=paid, balance=balance)


def sum_of(provider: str, rows: int, paid: int) -> Any:
    return event("BatchSettled", provider=provider, rows=rows, paid=paid)


def test_pays_the_provider_once_and_says_every_row(world: World, provider: str, ready: int, stranger: str) -> None:
    rich, poor = (world.evm.account(name) for name in ("rich", "poor"))
    world.open(rich, coins=9 * COIN)
    world.open(poor, coins=2 * COIN)
    before = world.evm.balance(provider)
    done = world.settle_batch(
        world.fee(3 * COIN, user=rich),
        world.fee(user=stranger),
        world.fee(5 * COIN, user=poor),
        world.fee(0),
        Fee(world.user, nonce=1),
    )
    assert statuses_of(done.result, 5) == [SUCCESS, INVALID_SIGNATURE, PARTIAL, SUCCESS, INVALID_NONCE]
    assert done.events == [
        settled(rich, SUCCESS, 3 * COIN, 6 * COIN),
        settled(stranger, INVALID_SIGNATURE, 0, 0),
        settled(poor, PARTIAL, 2 * COIN, 0),
        settled(world.user, SUCCESS, 0, ready),
        settled(world.user, INVALID_NONCE, 0, ready),
        sum_of(provider, 5, 5 * COIN),
    ]
    assert world.evm.balance(provider) == before + 5 * COIN
    assert world.account(rich)["nonce"] == 1
    assert world.account()["nonce"] == 4


def test_refuses_none_and_too_many(world: World, serving: Contract, provider: str, ready: int) -> None:  # noqa: ARG001
    rows, signature = world.batch(world.fee())
    assert serving.refused("settleBatchWithTEE", [], signature, sender=provider) == error("NoSettlementsProvided")
    for count in (201, 208):
        assert serving.refused("settleBatchWithTEE", rows * count, signature, sender=provider) == error(
            "TooManySettlements", count=count, max=200
        )
    assert serving.refused("settleBatchWithTEE", rows * 209, signature, sender=provider) is None


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 128, 129, 199, 200])
def test_as_many_rows_as_allowed(world: World, ready: int, rows: int) -> None:
    """Every third row of one user is refused, so that statuses stand at their own places."""
    fees = [world.fee(1) for _ in range(rows)]
    fees = [Fee(fee.user, fee.wei, 0 if place % 3 == 2 else fee.nonce) for place, fee in enumerate(fees)]
    done = world.settle_batch(*fees)
    expected = [INVALID_NONCE if place % 3 == 2 else SUCCESS for place in range(rows)]
    assert statuses_of(done.result, rows) == expected
    assert [args["status"] for args in done.named("BatchRowSettled")] == expected
    assert world.account()["balance"] == ready - expected.count(SUCCESS)


def test_rows_that_are_paid_in_part_stand_at_their_own_places_too(world: World) -> None:
    world.register()
    world.confirm()
    world.open(coins=0)
    fees = [world.fee(place % 2) for place in range(200)]
    assert statuses_of(world.settle_batch(*fees).result, 200) == [SUCCESS, PARTIAL] * 100


class TestStatuses:
    """Every reason, and that the earlier one wins where two apply."""

    def refused(self, world: World, fee: Fee, status: int, sender: str | None = None, **signing: Any) -> None:
        accounts = world.every("getAllAccounts")
        sender = sender or world.provider
        arguments = world.batch(fee, provider=sender, **signing)
        done = world.serving.send("settleBatchWithTEE", *arguments, sender=sender)
        assert statuses_of(done.result, 1) == [status]
        held = [one["balance"] for one in accounts if (one["user"], one["provider"]) == (fee.user, sender)]
        assert done.events == [settled(fee.user, status, 0, sum(held)), sum_of(sender, 1, 0)]
        assert world.every("getAllAccounts") == accounts

    def test_no_account_comes_before_no_service(self, world: World) -> None:
        self.refused(world, world.fee(), INVALID_SIGNATURE)

    def test_no_account(self, world: World, confirmed: None, stranger: str) -> None:  # noqa: ARG002
        self.refused(world, world.fee(user=stranger), INVALID_SIGNATURE)
        self.refused(world, world.fee(user=NOBODY), INVALID_SIGNATURE)

    def test_no_service(self, world: World, opened: int) -> None:  # noqa: ARG002
        self.refused(world, world.fee(), PROVIDER_MISMATCH)

    def test_user_has_not_acknowledged(self, world: World, serving: Contract, confirmed: None) -> None:  # noqa: ARG002
        world.open(coins=0)
        serving.send("acknowledgeTEESigner", world.provider, False, sender=world.user)
        self.refused(world, world.fee(0), NO_TEE_SIGNER)

    def test_owner_has_not_confirmed(self, world: World, opened: int, registered: None) -> None:  # noqa: ARG002
        self.refused(world, world.fee(), NO_TEE_SIGNER)

    def test_signer_of_zero(self, world: World, provider: str, opened: int) -> None:
        world.register(teeSignerAddress=NOBODY)
        world.confirm()
        rows, signature = world.batch(world.fee())
        for one in (signature, bytes(65), b"", b"\x01" * 64 + b"\x00"):
            done = world.serving.send("settleBatchWithTEE", rows, one, sender=provider)
            assert done.events == [settled(world.user, NO_TEE_SIGNER, 0, opened), sum_of(provider, 1, 0)]

    def test_no_signer_comes_before_the_nonce(self, world: World, opened: int, registered: None) -> None:  # noqa: ARG002
        self.refused(world, Fee(world.user, nonce=0), NO_TEE_SIGNER)

    def test_nonce_used(self, world: World, ready: int) -> None:  # noqa: ARG002
        world.settle(Fee(world.user, nonce=7))
        self.refused(world, Fee(world.user, nonce=7), INVALID_NONCE)
        self.refused(world, Fee(world.user, nonce=0), INVALID_NONCE)

    @pytest.mark.parametrize("nonce", [MAX_NONCE + 1, MAX_NONCE + 2, 2**65 + 5, 2**255, 2**256 - 1])
    def test_nonce_that_does_not_fit(self, world: World, ready: int, nonce: int) -> None:  # noqa: ARG002
        self.refused(world, Fee(world.user, nonce=nonce), INVALID_NONCE)

    def test_the_largest_nonce_is_none_to_refuse(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, Fee(world.user, nonce=MAX_NONCE), INVALID_SIGNATURE, tee=OTHER_TEE)
        assert statuses_of(world.settle_batch(Fee(world.user, nonce=MAX_NONCE)).result, 1) == [SUCCESS]

    def test_nonce_comes_before_the_signature(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, Fee(world.user, nonce=0), INVALID_NONCE, tee=OTHER_TEE)

    def test_signed_by_another_tee(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, world.fee(), INVALID_SIGNATURE, tee=OTHER_TEE)

    def test_signed_for_another_chain(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, world.fee(), INVALID_SIGNATURE, chain=16661)

    def test_signed_for_another_contract(self, world: World, ready: int) -> None:  # noqa: ARG002
        self.refused(world, world.fee(), INVALID_SIGNATURE, at=world.stranger)

    def test_signed_for_another_provider(self, world: World, second: str, ready: int) -> None:
        world.open(provider=second)
        world.register(second)
        world.confirm(second)
        rows, signature = world.batch(world.fee())
        done = world.serving.send("settleBatchWithTEE", rows, signature, sender=second)
        assert done.events == [settled(world.user, INVALID_SIGNATURE, 0, ready), sum_of(second, 1, 0)]


def test_a_wrong_signature_is_wrong_for_every_row_that_nothing_else_is_wrong_with(
    world: World, provider: str, stranger: str, ready: int
) -> None:
    fees = [world.fee(), world.fee(user=stranger), Fee(world.user, nonce=0)]
    rows, signature = world.batch(*fees)
    swapped = [rows[1], rows[0], rows[2]]
    changed = [rows[0], rows[1], (rows[2][0] + 1, *rows[2][1:])]
    for one, sign in ((rows, signature[:-1]), (rows, b""), (swapped, signature), (changed, signature)):
        done = world.serving.send("settleBatchWithTEE", one, sign, sender=provider)
        expected = [INVALID_SIGNATURE, INVALID_SIGNATURE, INVALID_NONCE]
        assert statuses_of(done.result, 3) == expected
    for place in range(3):
        fewer = rows[:place] + rows[place + 1 :]
        done = world.serving.send("settleBatchWithTEE", fewer, signature, sender=provider)
        assert SUCCESS not in statuses_of(done.result, 2)
    assert world.account()["balance"] == ready


@pytest.mark.parametrize("length", [0, 1, 64, 66, 130, 160])
def test_a_signature_of_any_length_is_judged(world: World, provider: str, ready: int, length: int) -> None:  # noqa: ARG001
    rows, signature = world.batch(world.fee())
    done = world.serving.send("settleBatchWithTEE", rows, (signature * 3)[:length], sender=provider)
    assert statuses_of(done.result, 1) == [INVALID_SIGNATURE]


def test_a_signature_for_one_entry_is_none_for_a_batch(world: World, provider: str, ready: int) -> None:  # noqa: ARG001
    fee = world.fee()
    done = world.serving.send("settleBatchWithTEE", [fee.row()], world.signed(fee)["signature"], sender=provider)
    assert statuses_of(done.result, 1) == [INVALID_SIGNATURE]


def test_both_entries_share_the_nonce(world: World, ready: int) -> None:
    fee = Fee(world.user, COIN, 5)
    world.settle(fee)
    assert statuses_of(world.settle_batch(fee).result, 1) == [INVALID_NONCE]
    world.settle_batch(Fee(world.user, COIN, 6))
    assert world.settle(Fee(world.user, COIN, 6)).result == [INVALID_NONCE]
    assert world.account()["balance"] == ready - 2 * COIN


def test_nothing_is_paid_twice(world: World, provider: str, ready: int) -> None:
    arguments = world.batch(world.fee(), world.fee())
    world.serving.send("settleBatchWithTEE", *arguments, sender=provider)
    again = world.serving.send("settleBatchWithTEE", *arguments, sender=provider)
    assert statuses_of(again.result, 2) == [INVALID_NONCE, INVALID_NONCE]
    world.close()
    world.open()
    again = world.serving.send("settleBatchWithTEE", *arguments, sender=provider)
    assert statuses_of(again.result, 2) == [INVALID_NONCE, INVALID_NONCE]
    assert world.account()["balance"] == ready


def test_repeated_users_are_carried_from_row_to_row(world: World, ready: int) -> None:
    done = world.settle_batch(
        Fee(world.user, ready - 1, 5), Fee(world.user, 1, 5), Fee(world.user, 2, 6), Fee(world.user, 0, 7)
    )
    assert statuses_of(done.result, 4) == [SUCCESS, INVALID_NONCE, PARTIAL, SUCCESS]
    assert [args["balance"] for args in done.named("BatchRowSettled")] == [1, 1, 0, 0]
    assert world.account()["nonce"] == 7


def test_refunds_give_way_newest_first(world: World, ready: int) -> None:
    world.request()
    world.evm.time += 60
    world.deposit(7)
    world.request()
    world.settle_batch(world.fee(3), world.fee(5))
    assert world.refunds() == [ready - 1]
    world.settle_batch(world.fee(2**96 - 1))
    assert world.refunds() == []
    assert world.account()["balance"] == 0


def test_the_largest_fee_a_row_can_hold_is_partial(world: World, ready: int) -> None:
    done = world.settle_batch(world.fee(2**96 - 1))
    assert done.events[0] == settled(world.user, PARTIAL, ready, 0)


@pytest.mark.local_evm
def test_a_call_without_a_transaction_is_the_preview(world: World, provider: str, ready: int) -> None:
    fees = [world.fee(ready), world.fee(1), Fee(world.user, nonce=0)]
    before = world.account()
    foreseen = world.serving.ask("settleBatchWithTEE", *world.batch(*fees), sender=provider)
    assert world.account() == before
    assert foreseen == world.settle_batch(*fees).result
    assert statuses_of(foreseen, 3) == [SUCCESS, PARTIAL, INVALID_NONCE]


def test_a_provider_that_cannot_receive_coins_loses_the_whole_batch(
    world: World,
    serving: Contract,
    provider: str,
    ready: int,  # noqa: ARG001
) -> None:
    world.evm.set_code(provider, REVERT)
    arguments = world.batch(world.fee())
    assert serving.refused("settleBatchWithTEE", *arguments, sender=provider) == error("TransferFailed")
    assert statuses_of(world.settle_batch(world.fee(0)).result, 1) == [SUCCESS]


def test_rows_are_found_where_the_abi_says_they_are(world: World, provider: str, ready: int) -> None:
    """Encoded by hand, with the signature before the rows and a gap between them."""
    rows, signature = world.batch(world.fee(COIN), world.fee(2 * COIN))
    words = [
        bytes(31) + b"\xe0",
        bytes(31) + b"\x60",
        b"\xff" * 32,
        len(signature).to_bytes(32, "big"),
        signature.ljust(96, b"\0"),
        len(rows).to_bytes(32, "big"),
        *(
            b"".join((packed.to_bytes(32, "big"), nonce.to_bytes(32, "big"), requests))
            for packed, nonce, requests in rows
        ),
    ]
    assert sum(len(word) for word in words[:5]) == 0xE0
    data = world.serving.interface.selector("settleBatchWithTEE") + b"".join(words)
    outcome = world.evm.send(world.serving.address, data, sender=provider)
    assert outcome.success
    assert statuses_of(world.serving.interface.decode_result("settleBatchWithTEE", outcome.output), 2) == [0, 0]
    assert world.account()["balance"] == ready - 3 * COIN


@pytest.mark.local_evm
def test_every_bit_of_a_row_is_signed(world: World, provider: str, ready: int) -> None:  # noqa: ARG001
    user = to_checksum_address("0x" + "ff" * 20)
    fee = Fee(user, 2**96 - 1, MAX_NONCE, keccak(text="every bit"))
    world.open(user)
    rows, signature = world.batch(fee)
    row = b"".join(part if isinstance(part, bytes) else part.to_bytes(32, "big") for part in rows[0])
    for bit in range(0, 768, 7):
        flipped = (int.from_bytes(row, "big") ^ 1 << bit).to_bytes(96, "big")
        changed = (int.from_bytes(flipped[:32], "big"), int.from_bytes(flipped[32:64], "big"), flipped[64:])
        foreseen = world.serving.ask("settleBatchWithTEE", [changed], signature, sender=provider)
        assert statuses_of(foreseen, 1)[0] in (INVALID_SIGNATURE, INVALID_NONCE)
    assert statuses_of(world.serving.ask("settleBatchWithTEE", rows, signature, sender=provider), 1) == [PARTIAL]
