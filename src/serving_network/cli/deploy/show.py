"""`serving deploy show`"""

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.session import Session


@reads
async def show(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Show the record of the network: addresses, versions, owners, and what each contract replaced.

    Example: serving deploy show --network testnet
    """
    record = record_of(session, files).record
    session.out.result(record.model_dump(mode="json"))
    for name, contract in record.contracts.items():
        running = contract.implementation
        session.out.line(name, "bold")
        session.out.facts(
            {
                "  front": contract.front.address,
                "  beacon": contract.beacon.address,
                "  implementation": f"{running.address} ({running.contract}, release {running.release})",
                "  built with": ", ".join(f"{key} = {value}" for key, value in running.arguments.items()),
                "  initialised with": ", ".join(f"{key} = {value}" for key, value in contract.initial.items()),
                "  in block": str(contract.front.mined.block),
                "  owner": contract.owner,
                "  upgrade owner": contract.upgrade_owner,
                "  clients, providers": f"{contract.clients or 'any'}, {contract.providers or 'any'}",
                "  replaced": ", ".join(one.address for one in contract.former) or "nothing",
            }
        )
    if record.pending is not None:
        session.out.line(f"A {record.pending.what} of {record.pending.subject} is under way.")
