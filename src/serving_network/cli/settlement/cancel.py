"""`serving settlement cancel`"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, ask_to_go_on, cancels
from serving_network.cli.journal_file import JOURNAL, journal_of
from serving_network.cli.output import money
from serving_network.cli.settle import STUCK_AFTER, under_way
from serving_network.money import WEI_PER_GWEI, describe, parse_wei
from serving_network.settlement.cancelling import GAS, Cancelled, Plan, plan_cancellation
from serving_network.settlement.cancelling import cancel as cancel_batches
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options

if TYPE_CHECKING:
    from serving_network.settlement.journal import Batch


@cancels
async def cancel(
    session: Session,
    batches: Annotated[
        list[int] | None,
        typer.Argument(metavar="[BATCH]...", help="Only these, by their numbers in the list. Default: all that wait."),
    ] = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
    confirmations: Annotated[int, typer.Option(min=1, help="Book a result when its block is this deep.")] = 1,
    stuck_after: STUCK_AFTER = Options.stuck_after,
    give_up_after: Annotated[
        float, typer.Option(help="Seconds to wait; running it again continues.")
    ] = Options.give_up_after,
) -> None:
    """End settlements whose transactions wait, so that their users can be settled again.

    An empty transaction takes the wallet's nonce of each, and of every unused nonce before it, with a fee up to
    --max-fee. If a settlement is mined after all, it is booked.

    Example: serving settlement cancel --key provider --max-fee '200 gwei'
    """
    options = Options(
        max_gas_price=parse_wei(session.max_fee) if session.max_fee else Options.max_gas_price,
        confirmations=confirmations,
        stuck_after=stuck_after,
        give_up_after=give_up_after,
    )
    chain = await LiveChain.open(await session.reader(), session.signer(), service)
    file = await journal_of(chain, journal)
    file.require()
    with file.locked(), file.copied() if session.dry_run else file.opened() as opened:
        plan = await plan_cancellation(chain, opened, batches or None)
        if session.dry_run or not plan.places:
            session.out.result({"dry_run": session.dry_run, "plan": _plan_as_json(plan)})
            _show_plan(session, plan, options)
            return
        if not session.yes:
            _show_plan(session, plan, options)
            ask_to_go_on()
        try:
            done = await cancel_batches(chain, opened, options, plan)
        finally:
            session.sent = under_way(opened)
    session.out.result({"dry_run": False, "plan": _plan_as_json(plan), "done": _done_as_json(done)})
    _show_done(session, done)


def _show_plan(session: Session, plan: Plan, options: Options) -> None:
    out = session.out
    if not plan.places:
        out.line("No transaction waits: there is nothing to cancel.")
        return
    for batch in plan.batches:
        fee = sum(row.settlement.total_fee for row in batch.rows if not row.accepted)
        out.line(f"Batch {batch.id}  {describe(fee)} of {_users(batch)}, signed and not accepted.")
    for place in plan.places:
        if place.waiting is None:
            out.line(f"Nonce {place.nonce}  no transaction of this journal: unused, or sent by another program.")
        else:
            price = Decimal(place.waiting.max_fee_per_gas) / WEI_PER_GWEI
            out.line(f"Nonce {place.nonce}  {place.waiting.hash} waits, at up to {price:f} gwei per gas.")
    most = describe(GAS * options.max_gas_price * len(plan.places))
    count = "an empty transaction" if len(plan.places) == 1 else f"{len(plan.places)} empty transactions"
    out.line(f"To end this, {count} of the wallet to itself would be sent. Gas: at most {most}.")


def _users(batch: Batch) -> str:
    users = len({row.user.address for row in batch.rows if not row.accepted})
    return "1 user" if users == 1 else f"{users} users"


def _show_done(session: Session, done: Cancelled) -> None:
    out = session.out
    for sent in done.sent:
        out.line(f"Sent {sent.hash}, empty, with nonce {sent.nonce}.")
    for row, outcome in done.results:
        out.line(f"Mined before it could be cancelled: {session.name(row.user.address)} paid {describe(outcome.paid)}.")
    for batch in done.batches:
        if batch.id not in done.waiting:
            unpaid = sum(not row.accepted for row in batch.rows)
            out.line(f"Batch {batch.id}  cancelled: {unpaid} of {len(batch.rows)} settlements were not accepted.")
    for note in done.notes:
        out.line(f"Note  {note}")
    if done.gas_cost:
        out.line(f"Gas used {done.gas_used}, {describe(done.gas_cost)}.")
    out.line("Run serving settle: it settles what is open, and ends the batches when this is final.")


def _plan_as_json(plan: Plan) -> dict[str, Any]:
    return {
        "batches": [batch.id for batch in plan.batches],
        "nonces": [
            {
                "nonce": place.nonce,
                "batch": place.batch,
                "waiting": None if place.waiting is None else place.waiting.hash,
                "max_fee_per_gas": None if place.waiting is None else str(place.waiting.max_fee_per_gas),
            }
            for place in plan.places
        ],
    }


def _done_as_json(done: Cancelled) -> dict[str, Any]:
    return {
        "sent": [{"transaction": sent.hash, "nonce": sent.nonce} for sent in done.sent],
        "paid": money(done.paid),
        "users_paid": [{"user": row.user.address, "paid": money(outcome.paid)} for row, outcome in done.results],
        "waiting": done.waiting,
        "notes": done.notes,
        "gas": done.gas_used,
        "gas_cost": money(done.gas_cost),
    }
