# SPDX-License-Identifier: Apache-2.0
"""List the batches of a journal, what they are waiting for, and voided requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.cli.console.output import money
from serving_network.cli.console.times import local_time
from serving_network.money import rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.cli.console.session import Session
    from serving_network.settlement.journal.records import BatchSummary, Void


def show_batches(session: Session, batches: Sequence[BatchSummary]) -> None:
    """Print the batches, and what those that are open are waiting for."""
    session.out.table(
        ("batch", "state", "settlements", "accepted", "fee", "paid", "transactions"),
        [
            (
                str(one.batch.id),
                "adopted" if one.batch.form == "adopted" else state_of(one),
                str(len(one.states)),
                str(sum(state in ("accepted", "final") for state in one.states)),
                rounded(sum(row.settlement.total_fee for row in one.batch.rows)),
                rounded(sum(paid or 0 for paid in one.paid)),
                str(len(one.batch.transactions)),
            )
            for one in batches
        ],
        empty="No batches yet.",
    )
    session.out.line()
    _show_waiting(session, batches)


def state_of(one: BatchSummary) -> str:
    """The state of a batch, in a word or two."""
    if one.ended:
        return "ended"
    if one.states and all(state in ("accepted", "final") for state in one.states):
        return "accepted, not final"
    if one.batch.cancelled:
        return "cancelled, not final"
    return "refused, not final" if one.mined else "waiting"


def why(one: BatchSummary) -> str | None:
    """What an open batch is waiting for; None for any other."""
    from serving_network.contracts.models import Status

    if one.ended or one.batch.form == "adopted":
        return None
    blocks = [block for block in [*one.blocks, *one.mined.values()] if block is not None]
    mined = f"block {max(blocks)} to be final" if blocks else ""
    newest = one.batch.transactions[-1]
    match state_of(one):
        case "waiting":
            return f"waiting for transaction {newest.hash} with nonce {newest.nonce} to be mined"
        case "cancelled, not final" if not mined:
            return f"waiting for the empty transaction {newest.hash} with nonce {newest.nonce} to be mined"
        case _:
            refused = sorted({Status(status).name for status in one.statuses if status is not None and status > 1})
            return f"waiting for {mined}" + (f"; refused with {', '.join(refused)}" if refused else "")


def _show_waiting(session: Session, batches: Sequence[BatchSummary]) -> None:
    waiting = [(one.batch.id, reason) for one in batches if (reason := why(one)) is not None]
    for number, reason in waiting:
        session.out.line(f"Batch {number}  {reason}.")
    if waiting:
        session.out.line()


def show_voids(session: Session, voids: Sequence[Void]) -> None:
    """Print the voided requests, one per line."""
    for one in voids:
        session.out.line(
            f"Void  {local_time(one.time)}  0x{one.request_hash.hex()} of {session.name(one.user)}, "
            f"{rounded(one.fee)}: {one.reason}"
        )


def batch_as_json(one: BatchSummary) -> dict[str, Any]:
    """A batch as JSON."""
    from serving_network.contracts.models import Status

    batch = one.batch
    return {
        "batch": batch.id,
        "form": batch.form,
        "state": "adopted" if batch.form == "adopted" else state_of(one),
        "why": why(one),
        "from_block": batch.from_block,
        "settlements": [
            {
                "user": row.user.address,
                "nonce": str(row.settlement.nonce),
                "fee": money(row.settlement.total_fee),
                "requests": row.requests,
                "requests_hash": row.settlement.requests_hash,
                "state": state,
                "contract_status": None if status is None else Status(status).name,
                "paid": None if paid is None else money(paid),
                "block": block,
                "transaction": transaction or None,
            }
            for row, state, status, paid, block, transaction in zip(
                batch.rows, one.states, one.statuses, one.paid, one.blocks, one.accepted_in, strict=True
            )
        ],
        "transactions": [
            {
                "transaction": sent.hash,
                "nonce": sent.nonce,
                "purpose": sent.purpose,
                "gas": sent.gas,
                "max_fee_per_gas": str(sent.max_fee_per_gas),
                "block": one.mined.get(sent.hash),
            }
            for sent in batch.transactions
        ],
    }


def void_as_json(one: Void) -> dict[str, Any]:
    """A voided request as JSON."""
    return {
        "request": one.request_hash,
        "user": one.user,
        "number": one.number,
        "fee": money(one.fee),
        "time": one.time,
        "reason": one.reason,
    }
