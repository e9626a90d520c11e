# SPDX-License-Identifier: Apache-2.0
"""The compiler's standard JSON input of a contract, for verification services.

The input is used only if it compiles to exactly the artifact's bytecode, so a service never refuses because of the
input. Sources come from a checkout; an installed wheel has none.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_network.contracts import Artifact
from serving_network.deployment.errors import NothingToCompile, NotReproduced
from serving_network.errors import InvalidInput

ROOT = Path(__file__).parents[3]
SOURCES = "contracts/"


@dataclass(frozen=True)
class StandardJson:
    """`content` is the input, `compiler` the version as services name it, `identifier` the contract in it."""

    content: dict[str, Any]
    compiler: str
    identifier: str

    @property
    def text(self) -> str:
        return json.dumps(self.content, indent=2, ensure_ascii=False) + "\n"


def standard_json(artifact: Artifact, root: Path = ROOT) -> StandardJson:
    """The input for a contract made from the sources under `root`.

    Raises InvalidInput for a contract that is not written in Vyper, NothingToCompile if sources are missing, and
    NotReproduced for sources that no service can compile.
    """
    if artifact.compiler.get("name") != "vyper":
        raise InvalidInput(
            f"{artifact.name} is not written in Vyper, so no service can compile it.",
            next_step="Compare its bytes: serving verify local",
        )
    paths = [path.removeprefix(SOURCES) for path in artifact.source_hashes if path.endswith((".vy", ".vyi"))]
    stems = Counter(Path(path).stem for path in paths)
    if double := [path for path in paths if stems[Path(path).stem] > 1]:
        raise NotReproduced(
            f"{' and '.join(double)} have the same name.",
            cause="The compiler's standard JSON mode refuses that, so no service can compile it.",
            next_step="Rename one of them.",
        )
    target = next(path for path in paths if Path(path).stem == artifact.name)
    settings = artifact.compiler["settings"]
    try:
        sources = {path: {"content": (root / SOURCES / path).read_text(encoding="utf-8")} for path in sorted(paths)}
    except FileNotFoundError as error:
        raise NothingToCompile(
            f"The source {error.filename} is missing.",
            cause="An installed package contains compiled contracts only.",
            next_step="In a checkout of the release that was deployed: make build, then run this there.",
        ) from error
    content = {
        "language": "Vyper",
        "sources": sources,
        "settings": {
            "evmVersion": settings["evm_version"],
            "optimize": settings["optimize"],
            "experimentalCodegen": settings["experimental_codegen"],
            "search_paths": ["."],
            "outputSelection": {target: ["abi", "evm.bytecode", "evm.deployedBytecode", "layout", "metadata"]},
        },
    }
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
            raise NotReproduced(
                f"The sources of {artifact.name} compile to another {what} than the artifact's.",
                cause="The artifact was compiled from other sources.",
                next_step="make build",
            )
