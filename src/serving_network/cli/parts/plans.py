# SPDX-License-Identifier: Apache-2.0
"""How a plan is shown, confirmed and carried out, and what is reported at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from serving_network.cli.console.output import money
from serving_network.cli.console.prompts import ask_to_go_on
from serving_network.cli.console.session import Session
from serving_network.cli.files.networks import spec_of
from serving_network.money import rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from serving_network.deployment.engine import Progress
    from serving_network.deployment.plan import Done, Plan
    from serving_network.deployment.record import Step
    from serving_network.deployment.record_file import RecordFile

_ID_WIDTH = 38


async def run_plan(
    session: Session,
    file: RecordFile,
    plan: Plan,
    files: Path,
    question: str,
    *,
    shown: bool = False,
    default: bool = True,
) -> Done | None:
    """Ask, unless --yes was given, and carry the plan out as it was shown. None for a dry run. Raises Declined.

    Unless it was `shown`, unfinished work is printed here for a dry run, and otherwise resumed without asking.
    """
    from serving_network.deployment.engine import RunOptions, carry_out

    if session.dry_run:
        if plan.resumed and not shown:
            show_unfinished(session, plan)
        return None
    if not session.sending.yes and (shown or not plan.resumed):
        ask_to_go_on(question, default=default)
    options = RunOptions(
        confirmations=spec_of(session, files).confirmations,
        fees=await session.fees(),
        progress=_progress(session, id_width(plan.steps)),
    )
    return await carry_out(await session.chain(), session.signer(), file, plan, options)


def id_width(steps: Iterable[Step]) -> int:
    """The width of a column with the ids of these steps: the same for all plans but those with longer ids."""
    return max([_ID_WIDTH, *(len(step.id) for step in steps)])


def _progress(session: Session, width: int) -> Progress:
    """Report each mined transaction; what was sent last is known when the run is interrupted."""

    def report(step: Step, event: Literal["sent", "mined"]) -> None:
        if event == "sent":
            session.sent = step.attempts[-1].signed.hash
            return
        session.sent = None
        if step.mined is not None:
            where = f" at {step.address}" if step.address else ""
            session.out.line(f"{step.id:<{width}} block {step.mined.block}, gas {step.mined.gas_used}{where}")

    return report


def show_calls(session: Session, plan: Plan) -> None:
    """Print the steps of a plan that only calls contracts, for programs if nothing is sent afterwards."""
    if plan.resumed:
        return
    for step in plan.steps:
        session.out.line(f"step     {step.says}")
    if session.dry_run:
        session.out.result([step.says for step in plan.steps])


def show_unfinished(session: Session, plan: Plan, *, final: bool = True) -> None:
    """Print what is left of unfinished work, for programs if nothing comes after it."""
    left = [step for step in plan.steps if step.mined is None]
    if final:
        session.out.result({"under_way": plan.what, "sender": plan.sender, "left": [step.id for step in left]})
    session.out.line(f"Unfinished {plan.what} by {plan.sender}: {len(left)} of {len(plan.steps)} steps are left.")
    width = id_width(left)
    for step in left:
        session.out.line(f"left     {step.id:<{width}} {step.says}")


def done_as_json(done: Done, files: Sequence[str] = ()) -> dict[str, Any]:
    """What a run did, for programs."""
    return {
        "steps": [
            {
                "id": step.id,
                "address": step.address,
                "transaction": step.mined and step.mined.transaction,
                "block": step.mined and step.mined.block,
                "gas_used": step.mined and step.mined.gas_used,
            }
            for step in done.steps
        ],
        "gas_used": done.gas,
        "instructions": [
            {"id": one.id, "from": one.sender, "to": one.to, "data": one.data, "says": one.says}
            for one in done.instructions
        ],
        "files": list(files),
    }


async def highest_cost(session: Session, gas: int) -> tuple[dict[str, Any], str]:
    """The highest cost of that much gas, for programs and for people."""
    fees = await (await session.chain()).suggested_fees()
    most = gas * fees.max_fee_per_gas
    return {"gas": gas, "highest_cost": money(most)}, f"{gas} gas, at most {rounded(most, at_most=True)}"
