# SPDX-License-Identifier: Apache-2.0
"""The penalty flag of a fine-tuning account. No event tells it and no view returns it: it is read from the account's
word in storage, which is drawn in contracts/serving/accounts.vy.

A contract of others may store something else there. The word therefore counts only if its other fields are what
getAccount answers as of the same block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from serving_network.hashing import keccak

_WORDS_SLOT: Final = 6
"""Where the compiler places the accounts of fine-tuning."""
_COINS_BITS: Final = 92
_COINS_MASK: Final = 2**_COINS_BITS - 1
_FLAG_AT: Final = 184
_EXISTS_AT: Final = 186
_REFUNDS_AT: Final = 187
_NONCE_AT: Final = 191
_NONCE_MASK: Final = 2**64 - 1
_ACKNOWLEDGED_AT: Final = 255


def slot_of(user: str, provider: str) -> bytes:
    """The storage slot of an account."""
    key = keccak(b"".join(bytes.fromhex(one[2:]).rjust(32, b"\0") for one in (provider, user)))
    return keccak(_WORDS_SLOT.to_bytes(32, "big") + key)


def penalty_flag(word: int, account: Mapping[str, Any]) -> bool | None:
    """Whether a penalty was charged and the user has not acted since; None if the word is not that of the account."""
    fields = (
        word & _COINS_MASK,
        word >> _COINS_BITS & _COINS_MASK,
        word >> _EXISTS_AT & 1,
        word >> _REFUNDS_AT & 7,
        word >> _NONCE_AT & _NONCE_MASK,
        word >> _ACKNOWLEDGED_AT == 1,
    )
    answered = (
        account["balance"],
        account["pendingRefund"],
        1,
        account["validRefundsLength"],
        account["nonce"],
        account["acknowledged"],
    )
    return bool(word >> _FLAG_AT & 1) if fields == answered else None
