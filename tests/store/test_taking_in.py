# SPDX-License-Identifier: Apache-2.0
"""Receipts that users have and a restored store lacks: all of them are taken in once, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serving_network.errors import InvalidInput, ServingError
from serving_network.messages.answer_signatures import check_answer_hashes
from serving_network.messages.receipts import InvalidReceipt, SignedReceipt
from serving_network.store.intake import Intake
from serving_network.store.opening import copy_journal
from serving_network.store.served import summarise
from serving_network.store.taking_in import TakenIn, take_in
from serving_network.wallet.local import LocalTeeSigner
from tests.postgres import PostgresServer
from tests.settlement.test_served import IDENTITY, SIGNER, USERS, serve, terms

NEWER, NEWEST, UNKNOWN = (LocalTeeSigner(bytes(31) + bytes([number])) for number in (8, 9, 10))
STRANGER = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
Bill = list[SignedReceipt]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The copy of a store with two receipts of one user and one of another, in which a third of the first began."""

    async def begin() -> None:
        intake = Intake(tmp_path / "copy", IDENTITY, SIGNER)
        intake.open()
        await intake.begin(terms(3), 1)
        intake.close()

    asyncio.run(serve(tmp_path / "j", [(1, USERS[0], 10), (2, USERS[0], 20), (9, USERS[1], 5)]))
    copy_journal(tmp_path / "j", tmp_path / "copy")
    asyncio.run(begin())
    return tmp_path / "copy"


@pytest.fixture
def bill(store: Path) -> Bill:
    """The receipts that were made after the copy, newest first."""
    rows = [(3, USERS[0], 30), (4, USERS[0], 40), (5, USERS[1], 50), (6, STRANGER, 6)]
    return asyncio.run(serve(store.with_name("j"), rows))[::-1]


def test_the_lacking_receipts_are_taken_in_once_and_the_next_ones_continue(store: Path, bill: Bill) -> None:
    assert take_in(store, IDENTITY, SIGNER, bill) == TakenIn(4, 3, 126)
    assert take_in(store, IDENTITY, SIGNER, bill) == TakenIn(0, 0, 0)
    intake = Intake(store, IDENTITY, SIGNER)
    assert intake.open() == 0, "the request that the copy has as begun is billed already"
    assert intake.receipts(USERS[0], 2, 9) == bill[:1:-1]
    assert intake.receipts(USERS[1], 1, 9) == bill[1:2]
    assert intake.receipts(STRANGER, 0, 9) == bill[:1]
    intake.close()
    (following,) = asyncio.run(serve(store, [(7, USERS[0], 1)]))
    assert (following.receipt.sequence, following.receipt.billed_before) == (5, 100)


@pytest.mark.parametrize("signer", [SIGNER, NEWER], ids=["same signer", "newer signer"])
def test_the_answer_of_a_receipt_is_signed_by_whom_it_names(store: Path, bill: Bill, signer: LocalTeeSigner) -> None:
    take_in(store, IDENTITY, signer, bill)
    intake = Intake(store, IDENTITY, signer)
    intake.open()
    for one in bill:
        answer = intake.answer(one.receipt.id, 0)
        assert answer is not None
        assert one.disclosure is not None
        check_answer_hashes(answer, answer.signer, one.disclosure.request_hash, [one.disclosure.answer_hash])
    intake.close()


def signed(one: SignedReceipt, signer: LocalTeeSigner = SIGNER, **changes: object) -> SignedReceipt:
    """The receipt with other content, signed again."""
    receipt = replace(one.receipt, **changes)  # type: ignore[arg-type]
    return replace(one, receipt=receipt, signature=signer.sign_typed(receipt, one.chain_id, one.contract))


FITS_NOT: list[tuple[Callable[[SignedReceipt], SignedReceipt], type[ServingError], str]] = [
    (lambda one: replace(one, receipt=replace(one.receipt, output_fee=21)), InvalidReceipt, "did not sign"),
    (lambda one: signed(one, NEWER), InvalidReceipt, "did not sign"),
    (SignedReceipt.redacted, InvalidReceipt, "is redacted"),
    (lambda one: replace(one, chain_id=1), InvalidReceipt, "another service"),
    (lambda one: replace(one, contract=USERS[0]), InvalidReceipt, "another service"),
    (lambda one: signed(one, provider=USERS[1]), InvalidReceipt, "another service"),
    (lambda one: signed(one, sequence=5), InvalidInput, f"receipt 5 of {USERS[0]} does not follow"),
    (lambda one: signed(one, billed_before=61), InvalidInput, "does not follow"),
    (lambda one: signed(one, sequence=1), InvalidInput, "another receipt 1"),
]


@pytest.mark.parametrize(("change", "expected", "why"), FITS_NOT)
def test_with_a_receipt_that_does_not_fit_none_is_taken_in(
    store: Path, bill: Bill, change: Callable[[SignedReceipt], SignedReceipt], expected: type[ServingError], why: str
) -> None:
    *newest, last, first = bill
    with pytest.raises(expected, match=why) as caught:
        take_in(store, IDENTITY, SIGNER, [first, change(last), *newest])
    assert type(caught.value) is expected
    assert ("--redact" in str(caught.value.next_step)) is ("redacted" in why)
    assert summarise(store).requests == 3
    assert take_in(store, IDENTITY, SIGNER, bill).receipts == 4


def test_a_signer_that_was_replaced_counts_as_long_as_the_store_has_its_receipts(store: Path, bill: Bill) -> None:
    assert take_in(store, IDENTITY, NEWER, bill[2:]).receipts == 2
    copy_journal(store, store.with_name("later"))
    (newer,) = asyncio.run(serve(store, [(7, USERS[0], 7)], NEWER))
    later = store.with_name("later")
    with pytest.raises(InvalidReceipt):
        take_in(later, IDENTITY, NEWER, [signed(newer, UNKNOWN)])
    assert take_in(later, IDENTITY, NEWEST, [*bill, newer]) == TakenIn(3, 3, 63)


def test_nothing_is_taken_in_while_a_gateway_uses_the_store(
    store: Path, bill: Bill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving_network.store.intake.SHORT_WAIT", 0.0)
    intake = Intake(store, IDENTITY, SIGNER)
    intake.open()
    with pytest.raises(ServingError, match="A gateway uses this store"):
        take_in(store, IDENTITY, SIGNER, bill)
    intake.close()


def test_nothing_is_taken_in_while_a_gateway_of_another_machine_uses_the_store(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    store = postgres.store(tmp_path / "here")
    intake = Intake(replace(store, files=tmp_path / "there"), IDENTITY, SIGNER)
    intake.open()
    with pytest.raises(ServingError, match="A gateway uses this store"):
        take_in(store, IDENTITY, SIGNER, [])
    intake.close()
    assert take_in(store, IDENTITY, SIGNER, []) == TakenIn(0, 0, 0)
