"""How a settlement run goes about it."""

from __future__ import annotations

from dataclasses import dataclass

from serving_network.settlement.usage import MAX_FEE


@dataclass(frozen=True)
class Options:
    """How to settle. Amounts in wei, times in seconds.

    `minimum_fee` is the least that is worth a settlement and `max_user_fee` the most that one user may be charged
    in one; `max_gas_price` caps what a unit of gas may cost, `gas_limit` the gas of one transaction. A result is
    booked when its block is `confirmations` deep, and final as `SettlementChain.final_block` says of `final_depth`.
    `interval` is when the next settlement is due. A transaction is replaced after `stuck_after`, and after
    `give_up_after` the run ends and leaves it to the next one. `patience` is how long a node may contradict itself,
    and how long a run that is done waits for what earlier runs sent.
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
