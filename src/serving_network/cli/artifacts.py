# SPDX-License-Identifier: Apache-2.0
"""`serving artifacts`: the compiled contracts as files, for other toolchains."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from serving_network.contracts import Artifact, load
from serving_network.contracts.artifacts import names
from serving_network.errors import InvalidInput
from serving_network.untrusted import reason_of

LARGEST_SAFE_INTEGER: Final = 2**53 - 1


def artifacts(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The directory to write to. Created if it does not exist.", file_okay=False),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the file names as a JSON list.")] = False,
) -> None:
    """Write a JSON file per contract: ABI with errors, bytecode, constructor arguments, storage layout, compiler.

    Integers above 2**53 - 1 are written as strings, because JavaScript would round them.

    Example: serving artifacts build/contracts
    """
    paths = [str(path) for path in write(directory)]
    typer.echo(json.dumps(paths) if as_json else "\n".join(paths))


def write(directory: Path) -> list[Path]:
    """Write every contract's artifact into `directory`, and return the files in alphabetical order.

    Raises `InvalidInput` when the directory cannot be written, `ArtifactError` when an artifact is missing or stale.
    """
    written = []
    for artifact in map(load, names()):
        path = directory / f"{artifact.name}.json"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_published(artifact), indent=2) + "\n")
        except OSError as error:
            raise InvalidInput(
                f"Cannot write to {directory}.",
                cause=f"{reason_of(error)}.",
                next_step="Pass a directory that you can write to.",
            ) from error
        written.append(path)
    return written


def _published(artifact: Artifact) -> Any:
    content = {
        "contractName": artifact.name,
        "abi": artifact.abi,
        "bytecode": "0x" + artifact.bytecode.hex(),
        "deployedBytecode": "0x" + artifact.deployed_bytecode.hex(),
        "constructorArguments": artifact.constructor_arguments,
        "storageLayout": artifact.storage_layout,
        "compiler": artifact.compiler,
    }
    return _exact(content)


def _exact(value: Any) -> Any:
    """The value with integers as decimal strings where JavaScript would round them."""
    if isinstance(value, dict):
        return {name: _exact(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_exact(one) for one in value]
    return str(value) if isinstance(value, int) and abs(value) > LARGEST_SAFE_INTEGER else value
