# SPDX-License-Identifier: Apache-2.0
"""previewSettlementResults"""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.contract import COIN, Contract, error
from tests.unit.inference.world import (
    INVALID_NONCE,
    INVALID_SIGNATURE,
    MAX_NONCE,
    NO_TEE_SIGNER,
    OTHER_TEE,
    PARTIAL,
    PROVIDER_MISMATCH,
    SUCCESS,
    TEE,
    Fee,
    World,
)


def previewed(world: World, entries: list[dict[str, Any]], provider: str | None = None) -> tuple[list[Any], ...]:
    lists: tuple[list[Any], ...] = world.serving.ask(
        "previewSettlementResults", entries, sender=provider or world.provider
    )
    return lists


def lists_of(statuses: list[int], results: list[dict[str, Any]]) -> tuple[list[Any], ...]:
    """What the preview should have said, from what a settlement did."""
    assert statuses == [result["status"] for result in results]
    failed = [result for result in results if result["status"] > PARTIAL]
    partly = [result for result in results if result["status"] == PARTIAL]
    return (
        [result["user"] for result in failed],
        [result["status"] for result in failed],
        [result["user"] for result in partly],
        [result["unsettledAmount"] for result in partly],
    )


def test_lists_failures_and_partial_payments(world: World, user: str, stranger: str, ready: int) -> None:
    entries = world.entries(
        world.fee(COIN), world.fee(user=stranger), Fee(user, nonce=0), world.fee(ready), world.fee(3)
    )
    assert previewed(world, entries) == (
        [stranger, user],
        [INVALID_SIGNATURE, INVALID_NONCE],
        [user, user],
        [COIN, 3],
    )
    assert world.account()["balance"] == ready


def test_lists_nothing_when_all_succeed(world: World, ready: int) -> None:
    assert previewed(world, world.entries(world.fee(ready - 1), world.fee(1))) == ([], [], [], [])


def test_refuses_none_and_too_many(world: World, serving: Contract, provider: str, ready: int) -> None:  # noqa: ARG001
    assert serving.refused("previewSettlementResults", [], sender=provider) == error("NoSettlementsProvided")
    entry = world.signed(world.fee())
    for count in (51, 64):
        assert serving.refused("previewSettlementResults", [entry] * count, sender=provider) == error(
            "TooManySettlements", count=count, max=50
        )


def test_the_caller_is_the_provider(world: World, user: str, second: str, ready: int) -> None:  # noqa: ARG001
    entries = world.entries(world.fee())
    assert previewed(world, entries, provider=second) == ([user], [PROVIDER_MISMATCH], [], [])


def test_another_providers_entry_changes_nothing_for_the_next(world: World, user: str, ready: int) -> None:
    entries = world.entries(world.fee(ready), world.fee())
    entries[0]["provider"] = world.second
    assert previewed(world, entries) == ([user], [PROVIDER_MISMATCH], [], [])


@pytest.mark.parametrize("status", [NO_TEE_SIGNER, PROVIDER_MISMATCH, INVALID_SIGNATURE])
def test_reasons_that_concern_every_entry(world: World, user: str, status: int) -> None:
    if status != INVALID_SIGNATURE:
        world.open()
    if status == NO_TEE_SIGNER:
        world.register()
    entries = world.entries(world.fee(), world.fee())
    assert previewed(world, entries) == ([user] * 2, [status] * 2, [], [])


USERS = 4
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.integers(0, USERS),
            "wei": st.one_of(st.integers(0, 12), st.sampled_from([2**92, 2**256 - 1])),
            "nonce": st.one_of(st.integers(0, 8), st.sampled_from([MAX_NONCE, MAX_NONCE + 1])),
            "flaw": st.sampled_from(["none"] * 6 + ["tee", "provider", "short"]),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    entries=ENTRIES, balances=st.lists(st.integers(0, 20), min_size=USERS, max_size=USERS), waiting=st.integers(0, 15)
)
def test_a_preview_is_what_settling_then_does(
    world: World, entries: list[dict[str, Any]], balances: list[int], waiting: int
) -> None:
    """Also with the same user again and again, refunds in the way, and entries that fail between."""
    mark, history = world.evm.snapshot(), len(world.serving.history)
    world.register()
    world.confirm()
    users = [world.evm.account(f"user {place}") for place in range(USERS)]
    for place, (user, balance) in enumerate(zip(users, balances, strict=True)):
        world.open(user, coins=balance)
        if waiting >> place & 1:
            world.request(user)
            world.deposit(3, user=user)
    asked = []
    for entry in entries:
        user = world.stranger if entry["user"] == USERS else users[entry["user"]]
        tee = OTHER_TEE if entry["flaw"] == "tee" else TEE
        one = world.signed(Fee(user, entry["wei"], entry["nonce"]), tee=tee)
        if entry["flaw"] == "provider":
            one["provider"] = world.second
        if entry["flaw"] == "short":
            one["signature"] = one["signature"][:-1]
        asked.append(one)
    foreseen = previewed(world, asked)
    done = world.settle(*asked)
    assert foreseen == lists_of(done.result, done.named("TEESettlementResult"))
    assert [args["user"] for args in done.named("TEESettlementResult")] == [one["user"] for one in asked]
    world.check_books()
    world.evm.revert(mark)
    del world.serving.history[history:]


def test_a_batch_signed_at_once_ends_as_one_signed_singly(world: World, ready: int) -> None:
    fees = [world.fee(COIN), Fee(world.user, nonce=1), world.fee(ready), world.fee(5), world.fee(0)]
    with world.evm.rolled_back():
        singly = world.settle(*fees)
        left = world.account()
    at_once = world.settle_batch(*fees)
    assert [args["status"] for args in at_once.named("BatchRowSettled")] == singly.result
    assert singly.result == [SUCCESS, INVALID_NONCE, PARTIAL, PARTIAL, SUCCESS]
    assert world.account() == left
