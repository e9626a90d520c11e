"""`serving verify local`"""

import typer

from serving_network.cli.command import reads
from serving_network.cli.deploy.files import DEFAULT_FILES, FILES, record_of
from serving_network.cli.output import EXIT_CHECK_FAILED
from serving_network.cli.session import Session
from serving_network.contracts import load
from serving_network.deployment.bytecode import FRONT, code_problem
from serving_network.deployment.errors import VerifierFailed
from serving_network.deployment.standard_json import check_recompiled, standard_json


@reads
async def local(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Recompile the sources of every deployed contract, and compare with what lies on the chain.

    The hand-written front is compared byte for byte with the code that is assembled from its source.

    Example: serving verify local --network testnet
    """
    chain, record = await session.chain(), record_of(session, files).record
    found: list[tuple[str, str, str | None]] = []
    for name, contract in record.contracts.items():
        for code in (contract.implementation, contract.beacon, contract.front):
            beacon = contract.beacon.address if code.contract == FRONT else None
            problem = code_problem(code.contract, await chain.code(code.address), beacon)
            found.append((f"{name} {code.contract}", code.address, problem))
    for kind in dict.fromkeys(
        code.contract for contract in record.contracts.values() for code in (contract.implementation, contract.beacon)
    ):
        try:
            check_recompiled(load(kind), standard_json(load(kind)))
            found.append((f"source of {kind}", "recompiled", None))
        except VerifierFailed as error:
            found.append((f"source of {kind}", "recompiled", str(error)))
    session.out.result([{"what": what, "where": where, "problem": problem} for what, where, problem in found])
    for what, where, problem in found:
        session.out.line(f"{what:<36} {where}  {problem or 'the same, byte for byte'}")
    if any(problem for _, _, problem in found):
        raise typer.Exit(EXIT_CHECK_FAILED)
