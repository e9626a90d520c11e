# SPDX-License-Identifier: Apache-2.0
"""Check receipts: signed by the confirmed signer, in sequence, and billed at the registered prices."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from serving_network.messages.prices import input_fee
from serving_network.messages.receipts import Ending, InvalidReceipt, Receipt, SignedReceipt
from serving_network.money import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serving_network.clients.bills.evidence import Evidence, RegisteredPrices


class Fault(StrEnum):
    """What can be wrong with receipts."""

    SIGNATURE = "signature"
    SEQUENCE = "sequence"
    CONFLICT = "conflict"
    BILLED_BEFORE = "billed-before"
    PRICE = "price"
    FEE = "fee"


class Problem(NamedTuple):
    """One fault, found at the receipt with this sequence."""

    sequence: int
    fault: Fault
    message: str


def check_receipts(receipts: Sequence[SignedReceipt], evidence: Evidence) -> list[Problem]:
    """The faults of a bill's receipts, which are sorted by sequence."""
    ordered = without_forged(receipts, evidence)
    return sorted([*_order(ordered), *(fault for one in receipts for fault in check_receipt(one, evidence))])


def without_forged(receipts: Sequence[SignedReceipt], evidence: Evidence) -> list[SignedReceipt]:
    """The receipts without those that the provider did not sign, where there is one with this sequence that it did.

    Anybody between the user and the provider can add such receipts, so they prove nothing.
    """
    counts = Counter(one.receipt.sequence for one in receipts)
    several = [one for one in receipts if counts[one.receipt.sequence] > 1]
    genuine = {one for one in several if _signature_fault(one, evidence) is None}
    proven = {one.receipt.sequence for one in genuine}
    return [one for one in receipts if one in genuine or one.receipt.sequence not in proven]


def distinct(receipts: Sequence[SignedReceipt]) -> list[Receipt]:
    """One receipt for each sequence: of conflicting ones the first."""
    found: dict[int, Receipt] = {}
    for one in receipts:
        found.setdefault(one.receipt.sequence, one.receipt)
    return list(found.values())


def _order(receipts: Sequence[SignedReceipt]) -> Iterator[Problem]:
    for one, two in pairwise(receipts):
        if one.receipt.sequence == two.receipt.sequence:
            yield Problem(one.receipt.sequence, Fault.CONFLICT, "The provider signed two receipts for it.")
    ordered = distinct(receipts)
    if ordered and ordered[0].sequence != 1:
        yield Problem(ordered[0].sequence, Fault.SEQUENCE, "The receipts before it are missing.")
    if ordered and ordered[0].sequence == 1 and ordered[0].billed_before:
        yield Problem(1, Fault.BILLED_BEFORE, "It counts earlier requests, and is the first.")
    for before, after in pairwise(ordered):
        if after.sequence != before.sequence + 1:
            yield Problem(after.sequence, Fault.SEQUENCE, "The receipts before it are missing.")
        elif after.billed_before != before.billed_before + before.fee:
            yield Problem(
                after.sequence,
                Fault.BILLED_BEFORE,
                f"Its sum of earlier requests is off by "
                f"{describe(abs(after.billed_before - before.billed_before - before.fee))}.",
            )


def check_receipt(signed: SignedReceipt, evidence: Evidence) -> Iterator[Problem]:
    """The faults of one receipt: its signature, its prices and its fees."""
    receipt = signed.receipt
    if reason := _signature_fault(signed, evidence):
        yield Problem(receipt.sequence, Fault.SIGNATURE, reason)
    registered = [
        one
        for one in evidence.prices
        if (one.input_price, one.output_price) == (receipt.input_price, receipt.output_price)
        and evidence.in_force(one.period, receipt.time)
    ]
    if not registered and not receipt.is_free:
        yield Problem(receipt.sequence, Fault.PRICE, "Its prices were not registered when it was served.")
    if receipt.output_fee != receipt.output_tokens * receipt.output_price:
        yield Problem(receipt.sequence, Fault.FEE, "The output fee is not the count times the price.")
    if receipt.cached_tokens > receipt.input_tokens:
        yield Problem(receipt.sequence, Fault.FEE, "More input is cached than there is.")
    elif registered and not any(_input_fits(receipt, one) for one in registered):
        yield Problem(receipt.sequence, Fault.FEE, "The input fee is not the count times the price.")


def _signature_fault(signed: SignedReceipt, evidence: Evidence) -> str | None:
    """What is wrong with the signature, or with what stands beside it.

    After a crash, a gateway signs receipts of earlier requests: these may have any signer that was confirmed.
    """
    receipt = signed.receipt
    late = receipt.ending is Ending.CRASH
    reason = None
    for signer in {one.signer for one in evidence.signers if late or evidence.in_force(one.period, receipt.time)}:
        try:
            signed.check(signer)
        except InvalidReceipt as error:
            reason = str(error)
        else:
            return None
    return reason or "No TEE signer was confirmed when it was served."


def _input_fits(receipt: Receipt, registered: RegisteredPrices) -> bool:
    price, tokens, cached = receipt.input_price, receipt.input_tokens, receipt.cached_tokens
    if registered.cached_divisor is None:
        return (tokens - cached) * price <= receipt.input_fee <= tokens * price
    return receipt.input_fee == input_fee(price, tokens, cached, registered.cached_divisor)
