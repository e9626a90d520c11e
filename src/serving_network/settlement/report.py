# SPDX-License-Identifier: Apache-2.0
"""The report of a run, for people and for programs. Amounts are in wei."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serving_network.contracts.models import Status
from serving_network.errors import ServingError
from serving_network.money import describe
from serving_network.settlement.planning import Stake, Wait

Progress = Callable[[str, int, int], None]
"""Called with the current phase, how much of it is done, and its total (0 if unknown)."""


def no_progress(phase: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(slots=True)
class UserLine:
    """One user with open requests: what was open at the start of the run, and the result.

    `expected` is the payment according to the preview, `paid` what was paid on chain in this run, and `wait` the
    reason why something is left unsettled. `gas` is the user's share of the gas.
    """

    user: str
    requests: int
    input_tokens: int
    output_tokens: int
    fee: int
    paid: int = 0
    unsettled: int = 0
    expected: int = 0
    gas: int = 0
    status: Status | None = None
    wait: Wait | None = None
    stake: Stake | None = None

    @property
    def outcome(self) -> str:
        """The user's status, in a word or two."""
        if self.status is Status.SUCCESS and not self.unsettled:
            return "settled"
        if self.status is Status.PARTIAL and self.paid:
            return "partly settled"
        return "open" if self.wait is None else self.wait.name.lower().replace("_", " ")

    def as_dict(self) -> dict[str, Any]:
        warning = self.stake.warning(describe) if self.stake is not None else None
        return {
            "user": self.user,
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "fee": str(self.fee),
            "status": self.outcome,
            "contract_status": None if self.status is None else self.status.name,
            "expected": str(self.expected),
            "paid": str(self.paid),
            "unsettled": str(self.unsettled),
            "why": None if self.wait is None else self.wait.value,
            "warning": warning,
            "gas": self.gas,
        }


@dataclass(slots=True)
class Report:
    """One run. `taken_up` counts batches of earlier runs that were resumed and completed.

    `left_out` counts rows that the log's columns leave out, `continued_at` is the line at which the log was read on.
    `other_units` are the cached tokens, images and seconds of the open requests.

    What they paid before the run counted what is open is in `taken_up_paid`, the rest in `paid`:
    total fee = paid + unsettled.
    """

    chain_id: int
    contract: str
    provider: str
    new_requests: int = 0
    known_requests: int = 0
    rejected: int = 0
    taken_up: int = 0
    taken_up_paid: int = 0
    batches: int = 0
    settlements: int = 0
    replaced: int = 0
    gas_used: int = 0
    gas_cost: int = 0
    lines: dict[str, UserLine] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stopped_by: ServingError | None = None
    left_out: int = 0
    continued_at: int | None = None
    other_units: dict[str, int] = field(default_factory=dict)

    @property
    def fee(self) -> int:
        """What was open when the run started to settle."""
        return sum(line.fee for line in self.lines.values())

    @property
    def paid(self) -> int:
        return sum(line.paid for line in self.lines.values())

    @property
    def unsettled(self) -> int:
        return sum(line.unsettled for line in self.lines.values())

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON. Amounts are decimal strings in wei."""
        lines = list(self.lines.values())
        return {
            "chain_id": self.chain_id,
            "contract": self.contract,
            "provider": self.provider,
            "log": {
                "new": self.new_requests,
                "known": self.known_requests,
                "rejected": self.rejected,
                "left_out": self.left_out,
                "continued_at_line": self.continued_at,
            },
            "users": [line.as_dict() for line in lines],
            "total": {
                "requests": sum(line.requests for line in lines),
                "input_tokens": sum(line.input_tokens for line in lines),
                "output_tokens": sum(line.output_tokens for line in lines),
                "other_units": self.other_units,
                "fee": str(self.fee),
                "paid": str(self.paid),
                "unsettled": str(self.unsettled),
                "batches": self.batches,
                "settlements": self.settlements,
                "taken_up": {"batches": self.taken_up, "paid": str(self.taken_up_paid)},
                "replaced": self.replaced,
                "gas": self.gas_used,
                "gas_cost": str(self.gas_cost),
            },
            "notes": self.notes,
            "stopped_by": None if self.stopped_by is None else self.stopped_by.as_dict(),
        }
