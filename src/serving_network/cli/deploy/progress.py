"""How a run of steps is shown while it goes on, and what is said at its end."""

from typing import Any, Literal

from serving_network.cli.output import money
from serving_network.cli.prompts import ask_to_go_on
from serving_network.cli.session import Session
from serving_network.deployment.deploy import Done
from serving_network.deployment.engine import Progress
from serving_network.deployment.record import Pending, Step
from serving_network.money import describe


def progress(session: Session) -> Progress:
    """Tells of each transaction; what was sent last is known when the run is interrupted."""

    def tell(step: Step, event: Literal["sent", "mined"]) -> None:
        if event == "sent":
            session.sent = step.attempts[-1].signed.hash
            return
        session.sent = None
        if step.mined is not None:
            where = f" at {step.address}" if step.address else ""
            session.out.line(f"{step.id:<38} block {step.mined.block}, gas {step.mined.gas_used}{where}")

    return tell


def confirm(session: Session, question: str) -> None:
    """Ask, unless --yes was given. Raises Declined."""
    if not session.sending.yes:
        ask_to_go_on(question)


def show_pending(session: Session, pending: Pending, *, final: bool = True) -> None:
    """Say what of the work under way is left to be sent; for programs only where nothing comes after it."""
    left = [step for step in pending.steps if step.mined is None]
    if final:
        session.out.result({"under_way": pending.what, "sender": pending.sender, "left": [step.id for step in left]})
    session.out.line(
        f"A {pending.what} by {pending.sender} is under way: {len(left)} of {len(pending.steps)} steps are left."
    )
    for step in left:
        session.out.line(f"left     {step.id:<38} {step.says}")


def done_as_json(done: Done, files: list[str]) -> dict[str, Any]:
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
        "files": files,
    }


async def cost(session: Session, gas: int) -> tuple[int, str]:
    """What that much gas costs at most, in wei and for people."""
    fees = await (await session.chain()).suggested_fees()
    most = gas * fees.max_fee_per_gas
    return most, f"{gas} gas, at most {describe(most)}"


def cost_as_json(wei: int, gas: int) -> dict[str, Any]:
    return {"gas": gas, "highest_cost": money(wei)}
