# SPDX-License-Identifier: Apache-2.0
"""Load the compiled contracts, which the build writes beside this file, one JSON file per contract."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from serving_network.contracts.codec import Interface
from serving_network.errors import ConfigurationError
from serving_network.untrusted import parse_json, printable, reason_of

DIRECTORY = Path(__file__).parent / "artifacts"
_CHECKOUT = Path(__file__).parents[3]


class ArtifactError(ConfigurationError):
    """A contract is unknown, or its artifact is missing, damaged or older than its source."""


@dataclass(frozen=True)
class Artifact:
    """One compiled contract.

    `bytecode` is the creation code without constructor arguments; `deployed_bytecode` is the runtime code without
    immutables. `constructor_arguments` are mainnet's values in the constructor's order, None for one that depends on
    the deployment. `storage_layout` is the compiler's. `standard_json` is the compiler's input with the paths of the
    sources instead of their texts; it is empty for a contract that is not written in Vyper. `source_hashes` maps each
    file that the artifact was built from, by its path in the repository, to its SHA-256.
    """

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    deployed_bytecode: bytes
    constructor_arguments: list[int | None]
    storage_layout: dict[str, Any]
    compiler: dict[str, Any]
    standard_json: dict[str, Any]
    source_hashes: dict[str, str]

    @cached_property
    def interface(self) -> Interface:
        """The codec of this contract's ABI."""
        try:
            return Interface(self.abi)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"The ABI of {self.name} is damaged.", cause=printable(repr(error)), next_step="make build"
            ) from error

    def creation_code(self, *arguments: Any) -> bytes:
        """The data of a transaction that deploys the contract. Raises `UnencodableArguments`."""
        return self.bytecode + self.interface.encode_constructor(*arguments)


def names() -> list[str]:
    """The names of all artifacts, in alphabetical order."""
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


@cache
def load(name: str) -> Artifact:
    """The artifact of contract `name`.

    Raises `ArtifactError` if it is missing and, in a checkout, if a file it was built from has changed since.
    """
    artifact = read(DIRECTORY / f"{name}.json")
    if (_CHECKOUT / "hatch_build.py").exists():
        _check_fresh(artifact)
    return artifact


def read(path: Path) -> Artifact:
    """The artifact in the file `path`. Raises `ArtifactError` if it is missing or damaged."""
    try:
        stored = parse_json(path.read_bytes())
        return Artifact(
            name=path.stem,
            abi=stored["abi"],
            bytecode=bytes.fromhex(stored["bytecode"].removeprefix("0x")),
            deployed_bytecode=bytes.fromhex(stored["deployedBytecode"].removeprefix("0x")),
            constructor_arguments=stored["constructorArguments"],
            storage_layout=stored["storageLayout"],
            compiler=stored["compiler"],
            standard_json=stored["standardJson"],
            source_hashes=stored["sourceHashes"],
        )
    except FileNotFoundError as error:
        have = ", ".join(names()) or "none"
        raise ArtifactError(
            f"There is no artifact of {path.stem}.", cause=f"Existing artifacts: {have}.", next_step="make build"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} is damaged.", cause=f"{reason_of(error)}.", next_step="make build") from error


def _check_fresh(artifact: Artifact) -> None:
    for path, recorded in artifact.source_hashes.items():
        source = _CHECKOUT / path
        if not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() != recorded:
            raise ArtifactError(
                f"The artifact of {artifact.name} is stale.",
                cause=f"{path} has changed since it was compiled.",
                next_step="make build",
            )
