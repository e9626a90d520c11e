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


_FEE_MASK: Final = 2**FEE_BITS - 1
_BATCH: Final = bytes.fromhex("a44e0838")
_ROWS_AT: Final = (64).to_bytes(32, "big")
_FIRST_ROW: Final = 4 + 3 * 32
_ROW_BYTES: Final = 96


def rows_in(data: bytes) -> list[UserSettlement] | None:
    """The rows in calldata of `settleBatchWithTEE`, without the ABI codec, which takes ten times as long.

    None if the calldata calls another function, or is not encoded as it usually is.
    """
    if data[:4] != _BATCH or len(data) < _FIRST_ROW or data[4:36] != _ROWS_AT:
        return None
    size = int.from_bytes(data[_FIRST_ROW - 32 : _FIRST_ROW], "big")
    if size > (len(data) - _FIRST_ROW) // _ROW_BYTES:
        return None
    rows = []
    for at in range(_FIRST_ROW, _FIRST_ROW + size * _ROW_BYTES, _ROW_BYTES):
        first, nonce = int.from_bytes(data[at : at + 32], "big"), int.from_bytes(data[at + 32 : at + 64], "big")
        rows.append(UserSettlement(_address(first >> FEE_BITS), first & _FEE_MASK, nonce, data[at + 64 : at + 96]))
    return rows


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
