# SPDX-License-Identifier: Apache-2.0
"""Verify a bill: its receipts, and each coin that settlements took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_network.clients.bills.checking import Problem, check_receipts, distinct, without_forged
from serving_network.clients.bills.matching import Coverage, Payment, match

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.clients.bills.evidence import Evidence
    from serving_network.messages.receipts import Receipt, SignedReceipt


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of verifying a bill. Amounts are in wei.

    `unsettled` are the receipts that are neither voided nor paid in full, `free` is the number of those at no price.
    """

    block: int
    receipts: int
    billed: int
    problems: tuple[Problem, ...]
    payments: tuple[Payment, ...]
    unsettled: tuple[Receipt, ...]
    to_settle: int
    free: int

    def paid(self, coverage: Coverage) -> int:
        """The wei of all settlements of this kind."""
        return sum(one.settled.outcome.paid for one in self.payments if one.coverage is coverage)

    @property
    def proven(self) -> bool:
        """Whether every receipt is right, and covers every coin that was settled."""
        return not self.problems and all(one.coverage is Coverage.COVERED for one in self.payments)

    def conclusion(self, block: str) -> str:
        """What follows if it is proven, in words, with the block as the reader shows it."""
        if self.paid(Coverage.COVERED):
            return f"Proven up to block {block}: a signed receipt covers every coin that was settled."
        return f"Up to block {block} no coin was settled, so there is no payment to prove."


def verify_bill(receipts: Sequence[SignedReceipt], evidence: Evidence) -> Verdict:
    """Verify receipts, sorted by sequence, against what the chain says."""
    ordered = distinct(without_forged(receipts, evidence))
    matches = match(ordered, evidence.settled)
    voided = {sequence for one in matches.payments for sequence in one.voided}
    left = [(one, one.fee - paid) for one, paid in zip(ordered, matches.paid, strict=True)]
    unsettled = [(one, due) for one, due in left if due and one.sequence not in voided]
    return Verdict(
        block=evidence.block,
        receipts=len(ordered),
        billed=sum(one.fee for one in ordered),
        problems=tuple(check_receipts(receipts, evidence)),
        payments=matches.payments,
        unsettled=tuple(one for one, _ in unsettled),
        to_settle=sum(due for _, due in unsettled),
        free=sum(one.is_free for one in ordered),
    )
