# SPDX-License-Identifier: Apache-2.0
"""The report as programs read it: every amount in its place, and nothing lost between the lines and the totals."""

from __future__ import annotations

import json

import pytest

from serving_network.contracts.models import Status
from serving_network.errors import ServingError
from serving_network.messages.usage import MAX_FEE
from serving_network.settlement.chain import Service
from serving_network.settlement.options import Options
from serving_network.settlement.planning import Stake, Wait
from serving_network.settlement.report import Report, UserLine


def settled() -> UserLine:
    stake, paid = Stake(1, 1, 0, None), 10**20
    return UserLine("0xa", 3, 40, 50, paid, paid=paid, expected=paid, gas=77, status=Status.SUCCESS, stake=stake)


def waiting() -> UserLine:
    stake = Stake(9, 4, 0, None)
    return UserLine("0xb", 1, 2, 3, 9, 4, 5, 6, 7, status=Status.PARTIAL, wait=Wait.PAID_IN_PART, stake=stake)


def untouched() -> UserLine:
    return UserLine("0xc", 1, 0, 0, 8, unsettled=8)


@pytest.mark.parametrize(
    ("status", "paid", "unsettled", "wait", "outcome"),
    [
        (Status.SUCCESS, 5, 0, None, "settled"), (Status.SUCCESS, 5, 1, Wait.IN_FLIGHT, "in flight"),
        (Status.SUCCESS, 5, 1, None, "open"), (Status.PARTIAL, 5, 1, Wait.PAID_IN_PART, "partly settled"),
        (Status.PARTIAL, 0, 1, Wait.NO_MONEY, "no money"), (None, 0, 0, None, "open"),
        (None, 5, 0, Wait.SIGNER_NOT_CONFIRMED, "signer not confirmed"),
        (Status.NO_TEE_SIGNER, 0, 5, Wait.NOT_ACKNOWLEDGED, "not acknowledged"),
    ],
)  # fmt: skip
def test_the_outcome_of_a_user(
    status: Status | None, paid: int, unsettled: int, wait: Wait | None, outcome: str
) -> None:
    assert UserLine("0xa", 1, 1, 1, 5, paid, unsettled, status=status, wait=wait).outcome == outcome


def test_a_report_gives_every_amount_in_wei() -> None:
    report = Report(
        7, "0xcc", "0xpp", 11, 12, 13, 14, 15, 16, 17, 18, 19, 10**30,
        lines={line.user: line for line in (settled(), waiting(), untouched())},
        notes=["a note"],
        stopped_by=ServingError("Stopped.", cause="because", next_step="go on"),
        left_out=20,
        continued_at=21,
        other_units={"images": 22},
    )  # fmt: skip
    assert json.loads(json.dumps(report.as_dict())) == {
        "chain_id": 7,
        "contract": "0xcc",
        "provider": "0xpp",
        "log": {"new": 11, "known": 12, "rejected": 13, "left_out": 20, "continued_at_line": 21},
        "users": [
            {
                "user": "0xa", "requests": 3, "input_tokens": 40, "output_tokens": 50, "fee": str(10**20),
                "status": "settled", "contract_status": "SUCCESS", "expected": str(10**20), "paid": str(10**20),
                "unsettled": "0", "why": None, "warning": None, "gas": 77,
            },
            {
                "user": "0xb", "requests": 1, "input_tokens": 2, "output_tokens": 3, "fee": "9",
                "status": "partly settled", "contract_status": "PARTIAL", "expected": "6", "paid": "4",
                "unsettled": "5", "why": Wait.PAID_IN_PART.value,
                "warning": "open work exceeds the balance by 5 wei", "gas": 7,
            },
            {
                "user": "0xc", "requests": 1, "input_tokens": 0, "output_tokens": 0, "fee": "8", "status": "open",
                "contract_status": None, "expected": "0", "paid": "0", "unsettled": "8", "why": None, "warning": None,
                "gas": 0,
            },
        ],
        "total": {
            "requests": 5, "input_tokens": 42, "output_tokens": 53, "other_units": {"images": 22},
            "fee": str(10**20 + 17), "paid": str(10**20 + 4), "unsettled": "13",
            "batches": 16, "settlements": 17, "taken_up": {"batches": 14, "paid": "15"},
            "replaced": 18, "gas": 19, "gas_cost": str(10**30),
        },
        "notes": ["a note"],
        "stopped_by": report.stopped_by.as_dict() if report.stopped_by else None,
    }  # fmt: skip


def test_an_empty_report() -> None:
    report = Report(1, "", "")
    told = report.as_dict()
    assert (told["users"], told["notes"], told["stopped_by"]) == ([], [], None)
    assert set(told) == {"chain_id", "contract", "provider", "log", "users", "total", "notes", "stopped_by"}
    assert told["log"] == {"new": 0, "known": 0, "rejected": 0, "left_out": 0, "continued_at_line": None}
    zero = {"fee": "0", "paid": "0", "unsettled": "0", "gas_cost": "0", "taken_up": {"batches": 0, "paid": "0"}}
    zero |= {"other_units": {}}
    counts = dict.fromkeys(
        ("requests", "input_tokens", "output_tokens", "batches", "settlements", "replaced", "gas"), 0
    )
    assert told["total"] == zero | counts


def test_a_service_with_batches_is_settled_in_batches() -> None:
    assert Service(1, 1, "", True, True).form == "batch"
    assert Service(1, 1, "", True, False).form == "entries"


def test_the_default_options() -> None:
    assert Options() == Options(
        minimum_fee=0, max_user_fee=MAX_FEE, max_gas_price=10**12, gas_limit=5_000_000, batch_rows=None,
        confirmations=1, final_depth=None, in_flight=4, interval=24 * 60 * 60, stuck_after=60, give_up_after=600,
        patience=10, first_pause=0.05, dry_run=False,
    )  # fmt: skip
