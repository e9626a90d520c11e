"""`serving verify input`"""

from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.output import Output
from serving_network.contracts import load
from serving_network.deployment.standard_json import check_recompiled, standard_json


def write_input(
    contract: Annotated[
        str, typer.Argument(help="LedgerManager, InferenceServing, FineTuningServing or UpgradeableBeacon.")
    ],
    output: Annotated[Path | None, typer.Option(help="Where to write it. Default: CONTRACT.standard.json")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the compiler's standard JSON input of a contract, after checking that it gives the very bytecode.

    Example: serving verify input LedgerManager
    """
    artifact = load(contract)
    made = standard_json(artifact)
    check_recompiled(artifact, made)
    path = output or Path(f"{contract}.standard.json")
    path.write_text(made.text, encoding="utf-8")
    out = Output(as_json)
    out.result({"file": str(path), "compiler": made.compiler, "identifier": made.identifier})
    out.line(f"{path}: {made.identifier}, Vyper {made.compiler}; compiled here, it gives the very bytecode.")
