# SPDX-License-Identifier: Apache-2.0
"""`serving verify`: show that the deployed code is what the sources compile to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.command import reads
from serving_network.cli.console.output import EXIT_CHECK_FAILED, Output
from serving_network.cli.console.session import Session
from serving_network.cli.files.networks import CONTRACT, DEFAULT_FILES, FILES, record_of
from serving_network.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving_network.deployment.record import Code, RecordedContract
    from serving_network.deployment.standard_json import StandardJson

SOURCIFY = "https://sourcify.dev/server"

app = typer.Typer(help="Verify deployed contracts against their sources.")


@app.command()
@reads
async def local(session: Session, files: FILES = DEFAULT_FILES) -> None:
    """Recompile the sources of every deployed contract and compare the code on chain byte for byte.

    The front, which is assembled by hand, is compared with what its source assembles to.

    Example: serving verify local --network testnet
    """
    from serving_network.contracts import load
    from serving_network.deployment.bytecode import FRONT, code_problem
    from serving_network.deployment.errors import NothingToCompile, NotReproduced
    from serving_network.deployment.standard_json import check_recompiled, standard_json

    chain, record = await session.chain(), record_of(session, files).record
    found: list[tuple[str, str, str | None]] = []
    next_step: str | None = None
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
        except (NothingToCompile, NotReproduced) as error:
            found.append((f"source of {kind}", "recompiled", str(error)))
            next_step = error.next_step
    session.out.result([{"what": what, "where": where, "problem": problem} for what, where, problem in found])
    for what, where, problem in found:
        session.out.line(f"{what:<36} {where}  {problem or 'identical'}")
    if next_step is not None:
        session.out.line(f"Next   {next_step}", "bold")
    if any(problem for _, _, problem in found):
        raise typer.Exit(EXIT_CHECK_FAILED)


@app.command("input")
def write_input(
    contract: Annotated[
        str, typer.Argument(help="LedgerManager, InferenceServing, FineTuningServing or UpgradeableBeacon.")
    ],
    output: Annotated[Path | None, typer.Option(help="The file to write. Default: CONTRACT.standard.json")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the compiler's standard JSON input of a contract, if it compiles to exactly the artifact's bytecode.

    Example: serving verify input LedgerManager
    """
    from serving_network.contracts import load
    from serving_network.contracts.artifacts import names
    from serving_network.deployment.bytecode import FRONT
    from serving_network.deployment.standard_json import check_recompiled, standard_json

    if (known := names()) and contract not in known:
        raise InvalidInput(
            f"{contract!r} is not the name of a contract's source.",
            cause=f"The sources are {', '.join(one for one in known if one != FRONT)}.",
            next_step="serving verify input LedgerManager",
        )
    artifact = load(contract)
    made = standard_json(artifact)
    check_recompiled(artifact, made)
    path = output or Path(f"{contract}.standard.json")
    path.write_text(made.text, encoding="utf-8")
    out = Output(as_json)
    out.result({"file": str(path), "compiler": made.compiler, "identifier": made.identifier})
    out.line(f"{path}: {made.identifier}, Vyper {made.compiler}; compiles to exactly the same bytecode.")


@app.command()
@reads
async def sourcify(
    session: Session,
    contract: CONTRACT,
    url: Annotated[str, typer.Option(help="The URL of the Sourcify server.")] = SOURCIFY,
    files: FILES = DEFAULT_FILES,
) -> None:
    """Have Sourcify verify the implementation and the beacon of a contract.

    Example: serving verify sourcify ledger --network testnet
    """
    import aiohttp

    from serving_network.deployment.sourcify import Sourcify

    record = record_of(session, files).record
    results = []
    async with aiohttp.ClientSession() as web:
        service = Sourcify(web, url)
        for code, made in _submissions(record.contract(contract)):
            result = await service.verify(
                record.chain_id, code.address, made.content, made.compiler, made.identifier, code.mined.transaction
            )
            results.append(
                {
                    "contract": code.contract,
                    "address": code.address,
                    "runtime": result.runtime,
                    "creation": result.creation,
                    "already_known": result.already_known,
                }
            )
            known = ", already known" if result.already_known else ""
            session.out.line(f"{code.contract} at {code.address}: {result.runtime}{known}")
    session.out.result(results)


@app.command()
@reads
async def blockscout(
    session: Session,
    contract: CONTRACT,
    url: Annotated[str, typer.Option(help="The URL of the explorer.")],
    files: FILES = DEFAULT_FILES,
) -> None:
    """Have a Blockscout explorer verify the implementation and the beacon of a contract.

    Example: serving verify blockscout ledger --url https://explorer.example --network testnet
    """
    import aiohttp

    from serving_network.deployment.blockscout import Blockscout

    record = record_of(session, files).record
    results = []
    async with aiohttp.ClientSession() as web:
        service = Blockscout(web, url)
        for code, made in _submissions(record.contract(contract)):
            result = await service.verify(code.address, made.content, made.compiler)
            results.append({"contract": code.contract, "address": code.address, "already_known": result.already_known})
            known = ", already known" if result.already_known else ""
            session.out.line(f"{code.contract} at {code.address}: verified{known}")
    session.out.result(results)


def _submissions(contract: RecordedContract) -> Iterator[tuple[Code, StandardJson]]:
    """The implementation and the beacon with their checked sources. Raises NothingToCompile and NotReproduced."""
    from serving_network.contracts import load
    from serving_network.deployment.standard_json import check_recompiled, standard_json

    for code in (contract.implementation, contract.beacon):
        artifact = load(code.contract)
        made = standard_json(artifact)
        check_recompiled(artifact, made)
        yield code, made
