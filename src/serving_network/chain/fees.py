# SPDX-License-Identifier: Apache-2.0
"""Fees of a transaction: EIP-1559 fees, or a gas price on chains without a base fee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from serving_network.messages.transactions import SignedTransaction

REPLACEMENT_PERCENT: Final = 25
"""The increase of the fees of a replacement. Nodes require 10 to 12.5 %."""


@dataclass(frozen=True)
class Fees:
    """The maximum fee and the tip per gas, in wei. With `legacy`, both are the gas price of a legacy transaction."""

    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    legacy: bool = False

    @classmethod
    def gas_price(cls, wei: int) -> Fees:
        """A gas price in wei, for chains before EIP-1559."""
        return cls(wei, wei, legacy=True)

    @classmethod
    def of(cls, signed: SignedTransaction) -> Fees:
        """The fees of a signed transaction."""
        return cls(signed.max_fee_per_gas, signed.max_priority_fee_per_gas, signed.legacy)

    def raised(self, percent: int) -> Fees:
        """Fees that are higher by `percent`, and by at least 1 wei."""
        fee = self.max_fee_per_gas * (100 + percent) // 100 + 1
        tip = self.max_priority_fee_per_gas * (100 + percent) // 100 + 1
        return Fees(fee, min(tip, fee), self.legacy)

    def at_least(self, other: Fees) -> Fees:
        """The higher of the two, field by field."""
        return Fees(
            max(self.max_fee_per_gas, other.max_fee_per_gas),
            max(self.max_priority_fee_per_gas, other.max_priority_fee_per_gas),
            self.legacy,
        )
