# SPDX-License-Identifier: Apache-2.0
"""The compiler's standard JSON input of a contract, for verification services.

It is the input that the artifact was compiled from, so a service never refuses because of the input. Sources come from
a checkout; an installed wheel has none.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from serving_network.contracts import Artifact
from serving_network.deployment.errors import NothingToCompile, NotReproduced
from serving_network.errors import InvalidInput

SOURCES = Path(__file__).parents[3] / "contracts"


@dataclass(frozen=True)
class StandardJson:
    """`content` is the input, `compiler` the version as services name it, `identifier` the contract in it."""

    content: dict[str, Any]
    compiler: str
    identifier: str

    @property
    def text(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False) + "\n"


def standard_json(artifact: Artifact, folder: Path = SOURCES) -> StandardJson:
    """The input that a contract was compiled from, with the sources in `folder`.

    Raises InvalidInput for a contract that is not written in Vyper, NothingToCompile if sources are missing, and
    NotReproduced for other sources.
    """
    if not artifact.standard_json:
        raise InvalidInput(
            f"{artifact.name} is not written in Vyper, so no service can compile it.",
            next_step="Compare its bytes: serving verify local",
        )
    try:
        texts = {path: (folder / path).read_bytes() for path in artifact.standard_json["sources"]}
    except FileNotFoundError as error:
        raise NothingToCompile(
            f"The source {error.filename} is missing.",
            cause="An installed package contains compiled contracts only.",
            next_step="In a checkout of the release that was deployed: make build, then run this there.",
        ) from error
    if any(sha256(text).hexdigest() != artifact.source_hashes[f"contracts/{path}"] for path, text in texts.items()):
        raise _not_reproduced(f"{artifact.name} was not compiled from the sources in {folder}.")
    content = artifact.standard_json | {"sources": {path: {"content": text.decode()} for path, text in texts.items()}}
    (target,) = content["settings"]["outputSelection"]
    return StandardJson(content, artifact.compiler["version"], f"{target}:{artifact.name}")


def check_recompiled(artifact: Artifact, made: StandardJson) -> None:
    """Compile the input and compare the result with the artifact.

    Raises NotReproduced if the bytecode differs, and NothingToCompile if the compiler is not installed.
    """
    try:
        from vyper.cli.vyper_json import compile_json, exc_handler_to_dict
    except ImportError as error:
        raise NothingToCompile("The Vyper compiler is not installed.", next_step="pip install vyper==0.4.3") from error
    path, name = made.identifier.split(":")
    compiled = compile_json(json.loads(made.text), exc_handler_to_dict)
    if "contracts" not in compiled:
        raise NotReproduced(
            "The standard JSON input does not compile.", cause=str(compiled.get("errors")), next_step="make build"
        )
    code = compiled["contracts"][path][name]["evm"]
    for what, expected in (("bytecode", artifact.bytecode), ("deployedBytecode", artifact.deployed_bytecode)):
        if bytes.fromhex(code[what]["object"].removeprefix("0x")) != expected:
            raise _not_reproduced(f"The sources of {artifact.name} compile to another {what} than the artifact's.")


def _not_reproduced(what: str) -> NotReproduced:
    return NotReproduced(what, cause="The artifact was compiled from other sources.", next_step="make build")
