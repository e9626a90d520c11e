"""`serving settlement cancel`"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.command import cancels
from serving_network.cli.journal_file import JOURNAL, journal_of
from serving_network.cli.output import money
from serving_network.cli.prompts import ask_to_go_on
from serving_network.cli.session import Session
from serving_network.cli.settle import STUCK_AFTER, under_way
from serving_network.money import WEI_PER_GWEI, describe
from serving_network.settlement.cancelling import GAS, Cancelled, Plan, plan_cancellation
from serving_network.settlement.cancelling import cancel as cancel_batches
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.report import count

if TYPE_CHECKING:
    from serving_network.settlement.journal.records import Batch


@cancels
async def cancel(
    session: Session,
    batches: Annotated[
        list[int] | None,
        typer.Argument(metavar="[BATCH]...", help="Cancel these batches only. Default: all with pending transactions."),
    ] = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
    confirmations: Annotated[int, typer.Option(min=1, help="Book a result once its block is this deep.")] = 1,
    stuck_after: STUCK_AFTER = Options.stuck_after,
    give_up_after: Annotated[
        float, typer.Option(help="Seconds to wait for the transactions. Run it again to continue.")
    ] = Options.give_up_after,
) -> None:
    """Cancel settlements whose transactions are pending, so that their users can be settled again.

    An empty transaction replaces each of them and uses every unused nonce before it, with a fee up to --max-fee. If a
    settlement is mined before it is cancelled, it is booked.

    Example: serving settlement cancel --key provider --max-fee '200 gwei'
    """
    options = Options(
        max_gas_price=Options.max_gas_price if session.sending.max_fee is None else session.sending.max_fee,
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
        if not session.sending.yes:
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
        out.line("No transaction is pending: there is nothing to cancel.")
        return
    for batch in plan.batches:
        fee = sum(row.settlement.total_fee for row in batch.rows if not row.accepted)
        out.line(f"Batch {batch.id}  {describe(fee)} of {_users(batch)}, signed but not accepted.")
    for place in plan.places:
        if place.waiting is None:
            out.line(f"Nonce {place.nonce}  no transaction in this journal: unused, or used by another program.")
        else:
            price = Decimal(place.waiting.max_fee_per_gas) / WEI_PER_GWEI
            out.line(f"Nonce {place.nonce}  {place.waiting.hash} is pending, at up to {price:f} gwei per gas.")
    most = describe(GAS * options.max_gas_price * len(plan.places))
    what = count(len(plan.places), "empty transaction")
    out.line(f"Cancelling sends {what} from the wallet to itself. Gas: at most {most}.")


def _users(batch: Batch) -> str:
    return count(len({row.user.address for row in batch.rows if not row.accepted}), "user")


def _show_done(session: Session, done: Cancelled) -> None:
    out = session.out
    for sent in done.sent:
        out.line(f"Sent the empty transaction {sent.hash} with nonce {sent.nonce}.")
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
    out.line("Run serving settle to settle what is open. It ends the batches once the cancellation is final.")


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
