# SPDX-License-Identifier: Apache-2.0
"""Receipts, settlements and evidence as a provider and a chain would have made them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from serving_network.clients.bills.evidence import ConfirmedSigner, Evidence, Period, RegisteredPrices
from serving_network.clients.settled import Settled
from serving_network.clients.settlements import Outcome
from serving_network.contracts.models import Status
from serving_network.messages.receipts import (
    Disclosure,
    Ending,
    Receipt,
    SignedReceipt,
    Source,
    hash_receipts,
)
from serving_network.messages.typed_data import UserSettlement
from serving_network.store.bills import BillIdentity
from serving_network.testing import LocalNetwork
from serving_network.wallet.local import LocalTeeSigner

CHAIN, CONTRACT = 31337, "0x0165878A594ca255338adfa4d48449f69242Eb8F"
PROVIDER, USER = LocalNetwork.signer(1).address, LocalNetwork.signer(3).address
IDENTITY = BillIdentity(CHAIN, CONTRACT, PROVIDER, USER)
TEE = LocalTeeSigner(bytes(31) + b"\x07")
NOW = 1_764_412_800


def receipts(*fees: tuple[int, int], model: str = "model-1") -> list[SignedReceipt]:
    """Receipts for these counts of input and output tokens, at 100 and 200 wei."""
    made: list[SignedReceipt] = []
    billed = 0
    for sequence, (of_input, of_output) in enumerate(fees, 1):
        disclosure = Disclosure(model, bytes(32), sequence.to_bytes(32, "big"), b"\2" * 32, 3)
        one = Receipt(
            id=sequence.to_bytes(32, "big"),
            provider=PROVIDER,
            user=USER,
            token_id=255,
            sequence=sequence,
            billed_before=billed,
            input_fee=of_input * 100,
            output_fee=of_output * 200,
            input_price=100,
            output_price=200,
            input_tokens=of_input,
            cached_tokens=0,
            output_tokens=of_output,
            source=Source.USAGE,
            ending=Ending.COMPLETE,
            time=NOW + sequence,
            content=disclosure.content(),
        )
        made.append(sign(one, disclosure))
        billed += one.fee
    return made


def sign(receipt: Receipt, disclosure: Disclosure | None = None, tee: LocalTeeSigner = TEE) -> SignedReceipt:
    return SignedReceipt(receipt, CHAIN, CONTRACT, tee.sign_typed(receipt, CHAIN, CONTRACT), disclosure)


def changed(signed: SignedReceipt, **changes: Any) -> SignedReceipt:
    """The receipt with other content, signed again."""
    return sign(replace(signed.receipt, **changes), signed.disclosure)


def settled(covered: list[SignedReceipt], paid: int | None = None, *, before: int = 0, **changes: Any) -> Settled:
    """A settlement of these receipts, of whose first one `before` wei are paid; it pays all, or `paid` wei."""
    hash_, fee, _ = hash_receipts((one.receipt for one in covered), before)
    row = replace(UserSettlement(USER, fee, 1, hash_), **changes)
    status = Status.SUCCESS if paid is None else Status.PARTIAL
    return Settled(USER, row, Outcome(status, fee if paid is None else paid), 7, "0x" + "1" * 64, "0x" + "2" * 64)


def through_a_contract(paid: int) -> Settled:
    return Settled(USER, None, Outcome(Status.SUCCESS, paid), 7, "0x" + "1" * 64, "0x" + "3" * 64)


def evidence(*settlements: Settled, **changes: Any) -> Evidence:
    period = Period(NOW - 100, None)
    usual = Evidence(
        9,
        timed=True,
        settled=settlements,
        prices=(RegisteredPrices(period, 100, 200, 1),),
        signers=(ConfirmedSigner(period, TEE.address),),
    )
    return replace(usual, **changes)
