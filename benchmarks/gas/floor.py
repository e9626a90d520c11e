# SPDX-License-Identifier: Apache-2.0
"""The minimum that one settlement can cost: prices of the EVM and the wire format, nothing for computation.

What every design must pay for a settlement with an event of its own: its calldata, its share of signatures, one cold
word read and written, its events and its hashes. Contracts that keep more than one word pay more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RECOVERY: Final = 3_000 + 100
COLD_READ: Final = 2_100
WARM_WRITE: Final = 2_900


def log(topics: int, data: int) -> int:
    """An event: `topics` with its own hash, `data` in bytes."""
    return 375 * (1 + topics) + 8 * data


def hashed(size: int) -> int:
    return 30 + 6 * -(-size // 32)


# The word's slot is found by hashing a key; struct and digest are hashed by EIP-712.
FLOORS: Final[Mapping[str, Mapping[str, int]]] = {
    "settleFeesWithTEE": {
        "signature recovery": RECOVERY,
        "one account word, read and written": COLD_READ + WARM_WRITE,
        "events BalanceUpdated and TEESettlementResult": log(3, 64) + log(2, 64),
        "hashing: slot, struct, digest": hashed(64) + hashed(6 * 32) + hashed(66),
    },
    "settleBatchWithTEE": {
        "one account word, read and written": COLD_READ + WARM_WRITE,
        "event BatchRowSettled": log(2, 96),
        "hashing: slot, row, its share of the array": hashed(64) + hashed(5 * 32) + 6,
    },
}


def floor_rows(path: str, figures: Mapping[str, int]) -> list[tuple[str, int]]:
    """The floor of one settlement by cause, its sum, ours, and the difference; `figures` are the measured causes."""
    prefix, suffix = f"{path}, ", ", for each settlement"
    calldata = figures[f"{prefix}calldata{suffix}"]
    ours = sum(gas for key, gas in figures.items() if key.startswith(prefix) and key.endswith(suffix))
    rows = [("calldata", calldata), *FLOORS[path].items()]
    floor = sum(gas for _, gas in rows)
    return [*rows, ("floor", floor), ("ours", ours), ("above the floor", ours - floor)]
