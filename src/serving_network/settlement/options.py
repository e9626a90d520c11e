# SPDX-License-Identifier: Apache-2.0
"""The options of a settlement run."""

from __future__ import annotations

from dataclasses import dataclass

from serving_network.messages.usage import MAX_FEE


@dataclass(frozen=True)
class Options:
    """How to settle. Amounts are in wei, times in seconds.

    `minimum_fee` and `max_user_fee` bound the fee of one settlement. `max_gas_price` is the maximum fee per gas, and
    `gas_limit` the maximum gas limit of a transaction. A result is booked when its block is `confirmations` deep;
    `final_depth` is passed to `SettlementChain.final_block`. `interval` is the time until the next run. A transaction
    is replaced after `stuck_after`; after `give_up_after` the run stops waiting and leaves it to the next run.
    `patience` is how long a node may contradict itself, and how long a finished run waits for batches of earlier runs.
    """

    minimum_fee: int = 0
    max_user_fee: int = MAX_FEE
    max_gas_price: int = 1000 * 10**9
    gas_limit: int = 5_000_000
    batch_rows: int | None = None
    confirmations: int = 1
    final_depth: int | None = None
    in_flight: int = 4
    interval: int = 86_400
    stuck_after: float = 60
    give_up_after: float = 600
    patience: float = 10
    first_pause: float = 0.05
    dry_run: bool = False
