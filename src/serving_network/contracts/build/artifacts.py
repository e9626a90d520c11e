# SPDX-License-Identifier: Apache-2.0
"""Compile the sources named in contracts.toml into one JSON file per contract."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import assembler, signatures
from .compiler import EVM_VERSION, VYPER_VERSION, Compiled, compile_contract
from .errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).parents[4]
OUTPUT = Path(__file__).parents[1] / "artifacts"
TABLE = Path(__file__).with_name("contracts.toml")


def table() -> dict[str, dict[str, Any]]:
    """The entries of contracts.toml by contract name."""
    return tomllib.loads(TABLE.read_text())


def build(names: Iterable[str] | None = None, *, output: Path = OUTPUT) -> list[str]:
    """Write the artifacts of those contracts in `names` (by default all) whose sources changed. Returns their names.

    Raises `BuildError`, and the compiler's errors for invalid source code.
    """
    entries = table()
    output.mkdir(exist_ok=True)
    built = []
    for name in entries if names is None else names:
        target = output / f"{name}.json"
        if _is_fresh(target):
            continue
        artifact = make(name, entries[name])
        finished = target.with_suffix(".tmp")
        finished.write_text(json.dumps(artifact, indent=1) + "\n")
        finished.replace(target)
        built.append(name)
    return built


def make(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Build the artifact of one contract from its entry in contracts.toml."""
    source = ROOT / entry["source"]
    compiled = compile_contract(source, ROOT / "contracts") if source.suffix == ".vy" else _assemble(source)
    abi = _complete(compiled, entry)
    tools = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".py", ".toml"))
    return {
        "contractName": name,
        "abi": abi,
        "bytecode": "0x" + compiled.bytecode.hex(),
        "deployedBytecode": "0x" + compiled.deployed_bytecode.hex(),
        "constructorArguments": _constructor_arguments(abi, entry.get("constructor_arguments", {})),
        "storageLayout": compiled.storage_layout,
        "compiler": compiled.settings,
        "standardJson": compiled.standard_json,
        "sourceHashes": {
            path.relative_to(ROOT).as_posix(): _sha256(path)
            for path in [*compiled.sources, *tools]
            if path.is_relative_to(ROOT)
        },
    }


def _complete(compiled: Compiled, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The compiler's ABI, with the errors, names and raw results that the compiler leaves out."""
    names, raw = entry.get("outputs", {}), entry.get("raw_outputs", {})
    abi = [*compiled.abi, *(signatures.parse(line) for line in entry.get("interface", []))]
    abi += [signatures.parse(f"error {line}") for line in entry.get("errors", [])]
    functions = {item["name"]: item for item in abi if item["type"] == "function"}
    if unknown := names.keys() - functions:
        raise TableError(f"contracts.toml names results of functions that do not exist: {sorted(unknown)}")
    if raw.keys() != compiled.raw_returns:
        raise TableError(f"raw_outputs in contracts.toml must list exactly: {sorted(compiled.raw_returns)}")
    for name, given in names.items():
        outputs = functions[name]["outputs"]
        if len(outputs) != len(given):
            raise TableError(f"contracts.toml names {given}, but {name} returns {len(outputs)} values")
        for output, output_name in zip(outputs, given, strict=True):
            output["name"] = output_name
    for name, given in raw.items():
        functions[name]["outputs"] = [_raw_output(text, compiled) for text in given]
    for item in abi:
        if item["type"] == "fallback" and entry.get("receive"):
            item["type"] = "receive"
    return abi


def _raw_output(text: str, compiled: Compiled) -> dict[str, Any]:
    """Parse an output `TYPE NAME`, where TYPE may be a struct or a list of structs."""
    kind, _, name = text.partition(" ")
    struct, brackets, _ = kind.partition("[]")
    if struct not in compiled.structs:
        return {"name": name, "type": kind}
    return {"name": name, "type": "tuple" + brackets, "components": compiled.structs[struct]}


def _constructor_arguments(abi: list[dict[str, Any]], values: Mapping[str, int]) -> list[int | None]:
    names = [item["name"] for entry in abi if entry["type"] == "constructor" for item in entry["inputs"]]
    if unknown := values.keys() - set(names):
        raise TableError(f"contracts.toml gives constructor arguments that do not exist: {sorted(unknown)}")
    return [values.get(name) for name in names]


def _assemble(source: Path) -> Compiled:
    sections = assembler.assemble(source.read_text())
    return Compiled(
        abi=[],
        raw_returns=frozenset(),
        structs={},
        bytecode=b"".join(sections.values()),
        deployed_bytecode=sections["runtime"],
        storage_layout={},
        settings={"name": "assembler of this repository", "evmVersion": EVM_VERSION, "vyper": VYPER_VERSION},
        standard_json={},
        sources=[source],
    )


def _is_fresh(target: Path) -> bool:
    try:
        recorded = json.loads(target.read_text())["sourceHashes"]
        return all(_sha256(ROOT / path) == known for path, known in recorded.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
