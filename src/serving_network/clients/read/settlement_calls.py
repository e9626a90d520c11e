# SPDX-License-Identifier: Apache-2.0
"""Settlements in calldata, and the events with their results.

| form | function | signatures |
|---|---|---|
| entries | settleFeesWithTEE | one per settlement |
| batch | settleBatchWithTEE | one for all rows |
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from eth_utils.address import to_checksum_address

from serving_network.messages.typed_data import UserSettlement

if TYPE_CHECKING:
    from serving_network.contracts.codec import Decoded

Form = Literal["entries", "batch"]
"""How settlements are signed: one signature per settlement, or one for all rows."""

RESULT_EVENTS: Final[dict[Form, str]] = {"entries": "TEESettlementResult", "batch": "BatchRowSettled"}
"""The event that the contract emits for each settlement."""

FUNCTIONS: Final[dict[Form, str]] = {"entries": "settleFeesWithTEE", "batch": "settleBatchWithTEE"}

FEE_BITS: Final = 96
"""A row of a batch has the user in the upper 160 bits of its first word, and the fee in the lower 96."""


@lru_cache(maxsize=65536)
def _address(number: int) -> str:
    return str(to_checksum_address(number.to_bytes(20, "big")))


def settlements_in(call: Decoded | None) -> list[UserSettlement]:
    """The settlements in a call of the inference contract; empty if it calls another function."""
    if call is None:
        return []
    if call.name == FUNCTIONS["batch"]:
        return [
            UserSettlement(
                _address(row["userAndFee"] >> FEE_BITS),
                row["userAndFee"] % 2**FEE_BITS,
                row["nonce"],
                row["requestsHash"],
            )
            for row in call.args["rows"]
        ]
    if call.name == FUNCTIONS["entries"]:
        (entries,) = call.args.values()
        return [UserSettlement(row["user"], row["totalFee"], row["nonce"], row["requestsHash"]) for row in entries]
    return []
