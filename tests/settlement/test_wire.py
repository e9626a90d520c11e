# SPDX-License-Identifier: Apache-2.0
"""Settlements on the wire: what is sent, what a preview says, and which answers of a node contradict themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from eth_utils.address import to_checksum_address

from serving_network.chain.contract import Contract
from serving_network.chain.receipts import Receipt
from serving_network.clients.settlements import (
    ROWS_AT_MOST,
    Disagreement,
    Outcome,
    SettlementWire,
    SignedSettlements,
    known_status,
    outcome_of,
)
from serving_network.contracts.artifacts import load
from serving_network.contracts.codec import DecodedEvent
from serving_network.contracts.models import Status
from serving_network.errors import InvalidInput
from serving_network.messages.typed_data import UserSettlement
from serving_network.money import describe
from tests.settlement.fake_chain import CONTRACT, PROVIDER

USERS = [to_checksum_address(bytes([number]) * 20) for number in range(1, 200)]
SUCCESS, PARTIAL, NO_NONCE = Status.SUCCESS, Status.PARTIAL, Status.INVALID_NONCE


class StandIn:
    """A contract that answers every call with `answer`, and whose receipts have the logs that they are given."""

    address = CONTRACT

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.asked: tuple[Any, ...] = ()
        self.interface = SimpleNamespace(
            decode_log=lambda log: log, encode=load("InferenceServing").interface.encode, decode_call=None
        )

    async def read(self, *arguments: Any, **options: Any) -> Any:
        self.asked = (*arguments, options)
        return self.answer

    def call(self, *arguments: Any, **options: Any) -> Any:
        return (*arguments, options)


def wire(answer: Any = None) -> SettlementWire:
    return SettlementWire(cast(Contract, StandIn(answer)), PROVIDER)


def settlements(*fees: int, users: Sequence[str] = USERS) -> tuple[UserSettlement, ...]:
    return tuple(UserSettlement(user, fee, 7, bytes(32)) for user, fee in zip(users, fees, strict=False))


def entries(*fees: int, users: Sequence[str] = USERS) -> SignedSettlements:
    return SignedSettlements("entries", settlements(*fees, users=users), (b"\1" * 65,) * len(fees))


def batch(*fees: int, users: Sequence[str] = USERS) -> SignedSettlements:
    return SignedSettlements("batch", settlements(*fees, users=users), (b"\1" * 65,))


def preview(signed: SignedSettlements, answer: list[int], balances: dict[str, int]) -> list[Outcome]:
    return asyncio.run(wire(answer).preview(signed, balances, 5))


def packed(*statuses: int) -> list[int]:
    """The statuses of a batch as the contract packs them."""
    return [
        sum(status << 4 * place for place, status in enumerate(statuses[start : start + 64]))
        for start in range(0, len(statuses), 64)
    ]


@pytest.mark.parametrize(
    ("signed", "function", "what"),
    [
        (entries(3), "settleFeesWithTEE", "1 entry"),
        (entries(3, 4), "settleFeesWithTEE", "2 entries"),
        (batch(3), "settleBatchWithTEE", "1 row"),
        (batch(3, 4), "settleBatchWithTEE", "2 rows"),
    ],
)
def test_a_call_says_what_it_settles(signed: SignedSettlements, function: str, what: str) -> None:
    name, *_, options = cast(Any, wire().call(signed))
    total = describe(sum(row.total_fee for row in signed.settlements))
    assert (name, options) == (function, {"effect": f"settles {what} over {total}"})


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 129])
def test_each_status_of_a_batch_is_that_of_its_row(count: int) -> None:
    statuses = [place % len(Status) for place in range(count)]
    outcomes = preview(batch(*range(1, count + 1)), packed(*statuses), dict.fromkeys(USERS, 1000))
    assert outcomes == [
        Outcome(status, place if status <= 1 else 0) for place, status in enumerate(statuses, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("signed", "answer"),
    [(batch(*range(65)), [0]), (batch(1), []), (entries(1, 2), [0]), (entries(1), [0, 0]), (entries(1), [6]),
     (batch(1), [15]), (batch(*range(64)), [6 << 4 * 63])],
)  # fmt: skip
def test_a_preview_without_a_known_status_for_each_settlement_is_refused(
    signed: SignedSettlements, answer: list[int]
) -> None:
    with pytest.raises(Disagreement):
        preview(signed, answer, {})


@pytest.mark.parametrize("form", ["entries", "batch"])
def test_a_preview_pays_each_user_at_most_the_balance(form: str) -> None:
    rich, poor, nobody = USERS[:3]
    users = [rich, poor, rich, rich, poor, nobody]
    fees = [7, 8, 7, 7, 1, 5]
    statuses = [SUCCESS, PARTIAL, NO_NONCE, PARTIAL, SUCCESS, PARTIAL]
    signed, answer = (entries, list(statuses)) if form == "entries" else (batch, packed(*statuses))
    outcomes = preview(signed(*fees, users=users), cast(Any, answer), {rich: 10, poor: 8})
    assert outcomes == [Outcome(status, paid) for status, paid in zip(statuses, [7, 8, 0, 3, 0, 0], strict=True)]


def test_a_preview_is_asked_for_in_the_providers_name_at_the_block() -> None:
    contract = StandIn([0])
    signed = entries(3)
    of_provider = SettlementWire(cast(Contract, contract), PROVIDER)
    asyncio.run(of_provider.preview(signed, {}, 5))
    assert contract.asked == (
        "settleFeesWithTEE",
        *of_provider.arguments(signed),
        {"sender": PROVIDER, "block": 5},
    )


def test_a_transaction_holds_what_the_contract_accepts() -> None:
    assert ROWS_AT_MOST == {"entries": 50, "batch": 200}


def test_entries_need_a_signature_each() -> None:
    with pytest.raises(ValueError, match="shorter"):
        wire().arguments(SignedSettlements("entries", settlements(1, 2), (b"\1" * 65,)))


def test_a_fee_that_a_row_cannot_hold_is_refused() -> None:
    largest = 2**96 - 1
    ((row,), _) = wire().arguments(batch(largest))
    assert row == (int(USERS[0], 16) << 96 | largest, 7, bytes(32))
    with pytest.raises(InvalidInput, match="cannot hold a fee") as caught:
        wire().arguments(batch(largest + 1))
    assert caught.value.next_step == "Settle it as an entry of its own: serving settlement send"


def event(user: str, status: int, unsettled: int, name: str = "TEESettlementResult", at: str = CONTRACT) -> Any:
    return DecodedEvent(name, {"user": user, "status": status, "unsettledAmount": unsettled, "paid": unsettled}, at)


def results(logs: list[Any], signed: SignedSettlements) -> tuple[Outcome, ...]:
    receipt = Receipt("0x12", True, 5, "0x34", 1, 1, None, logs)
    return wire().results(receipt, signed)


def test_the_results_are_the_contracts_own_events_of_the_right_kind() -> None:
    noise = [None, event(USERS[0], 0, 0, at=PROVIDER), event(USERS[0], 0, 0, name="BalanceUpdated")]
    logs = [*noise, event(USERS[0], 0, 0), *noise, event(USERS[1], 1, 1), *noise]
    assert results(logs, entries(3, 4)) == (Outcome(0, 3), Outcome(1, 3))
    paid = [event(user, 1, 2, name="BatchRowSettled") for user in USERS[:2]]
    assert results([*logs, *paid], batch(3, 4)) == (Outcome(1, 2), Outcome(1, 2))


@pytest.mark.parametrize("users", [USERS[:1], USERS[:3], [USERS[1], USERS[0]], []])
def test_a_receipt_without_a_result_for_each_settlement_is_refused(users: list[str]) -> None:
    with pytest.raises(Disagreement, match="does not contain a result for each settlement") as caught:
        results([event(user, 0, 0) for user in users], entries(3, 4))
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("status", "unsettled", "paid"),
    [(SUCCESS, 0, 9), (PARTIAL, 2, 7), (PARTIAL, 9, 0), (PARTIAL, 0, 9), (NO_NONCE, 9, 0),
     (SUCCESS, 2, None), (PARTIAL, 10, None), (PARTIAL, -1, None), (NO_NONCE, 8, None), (NO_NONCE, 0, None),
     (6, 9, None), (SUCCESS, -1, None)],
)  # fmt: skip
def test_amounts_that_do_not_fit_the_status_are_refused(status: int, unsettled: int, paid: int | None) -> None:
    if paid is None:
        with pytest.raises(Disagreement):
            outcome_of(event(USERS[0], status, unsettled), 9)
    else:
        assert outcome_of(event(USERS[0], status, unsettled), 9) == Outcome(status, paid)
        assert outcome_of(event(USERS[0], status, paid, name="BatchRowSettled"), 9) == Outcome(status, paid)


def test_an_unknown_status_names_its_number() -> None:
    assert [known_status(one) for one in range(6)] == list(Status)
    with pytest.raises(Disagreement, match="unknown settlement status: 6"):
        known_status(6)
