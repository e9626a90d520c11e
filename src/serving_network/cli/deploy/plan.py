"""`serving deploy plan`"""

from pathlib import Path
from typing import Any

from serving_network.chain.connection import AsyncConnection
from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_path, spec_of
from serving_network.cli.deploy.progress import cost, cost_as_json, show_pending
from serving_network.cli.session import Session
from serving_network.deployment.deploy import new_record, plan_deployment
from serving_network.deployment.record import Record, load_record
from serving_network.deployment.rehearsal import rehearse_deployment
from serving_network.deployment.spec import NetworkSpec


@reads
async def plan(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Show what exists, what would be deployed, in which order and for how much gas. Sends nothing.

    Everything is done on a copy of the chain first, so the gas and the addresses are what the run will see.

    Example: serving deploy plan --network testnet
    """
    chain, spec = await session.chain(), spec_of(session, files)
    sender = session.own_address()
    record = await record_or_new(chain, session.network.name, spec, record_path(session, files), sender)
    await show_plan(session, chain, spec, record, sender)


async def record_or_new(chain: AsyncConnection, name: str, spec: NetworkSpec, path: Path, sender: str) -> Record:
    """The network's record, or an empty one where nothing was deployed yet."""
    return load_record(path) if path.exists() else await new_record(chain, name, spec, sender)


async def show_plan(
    session: Session, chain: AsyncConnection, spec: NetworkSpec, record: Record, sender: str, *, final: bool = True
) -> bool:
    """Print the plan, for programs only where nothing comes after it; returns whether there is anything to do."""
    out = session.out
    made = await plan_deployment(chain, spec, record, sender)
    if record.pending is not None:
        show_pending(session, record.pending, final=final)
        return True
    gas, addresses = await rehearse_deployment(chain, record, made)
    total = sum(gas.values())
    wei, told = await cost(session, total)
    if final:
        out.result(
            {
                "network": record.network,
                "chain_id": spec.chain_id,
                "sender": sender,
                "exists": {name: contract.front.address for name, contract in record.contracts.items()},
                "steps": [_step(step.id, step.says, gas[step.id], addresses.get(step.id)) for step in made.steps],
                "for_others": [{"id": step.id, "says": step.says} for step in made.instructions],
                "notes": list(made.notes),
                **cost_as_json(wei, total),
            }
        )
    for name, contract in record.contracts.items():
        out.line(f"exists   {name:<22} {contract.front.address}")
    for place, step in enumerate(made.steps, 1):
        where = f"  {addresses[step.id]}" if step.action == "create" else ""
        out.line(f"step {place:>2}  {step.id:<38} {gas[step.id]:>9} gas{where}")
    for step in made.instructions:
        out.line(f"then, by {record.contracts['ledger'].owner if record.contracts else spec.ledger.owner}: {step.says}")
    for note in made.notes:
        out.line(f"note     {note}")
    if made.steps:
        out.line(f"Sent by {sender}: {told}.")
    elif not made.instructions:
        out.line("Nothing is to be deployed.")
    return bool(made.steps or made.instructions)


def _step(name: str, says: str, gas: int, address: str | None) -> dict[str, Any]:
    return {"id": name, "says": says, "gas": gas, "address": address}
