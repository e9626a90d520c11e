# SPDX-License-Identifier: Apache-2.0
"""Other builds of the contracts: the real sources, changed in one place and compiled."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eth.vm import opcode_values
from vyper.compiler import outputs_from_compiler_data

from serving_network.contracts import artifacts
from serving_network.contracts.build.artifacts import ROOT, table
from serving_network.contracts.build.compiler import Compiled, _layout, _modules, compile_contract, prepare
from tests.shared import shared

# What another build of the ledger has; the services have no room for more code.
ADDITION = '''


appended: public(uint256)


@external
@pure
def release() -> uint256:
    """
    @notice Which build this is.
    """
    return 2
'''


def rebuild(folder: Path, contract: str, *, file: str | None = None, edits: tuple[tuple[str, str], ...] = ()) -> None:
    """Compile `contract` from sources in which every regular expression of `edits` is replaced once, and put its
    artifact into `folder` in place of the present one. The ledger also gets a function that tells the build, and a
    variable behind all others.

    `file` is the source that is edited, from the directory of contracts; by default the contract's own.
    """
    _replace(folder, contract, _compiled(contract, file, edits))


def relayout(folder: Path, contract: str, change: Callable[[Any], Any]) -> None:
    """Make the artifact in `folder` another build whose layout `change` has changed."""
    stored = json.loads((folder / f"{contract}.json").read_text())
    change(stored["storageLayout"])
    _replace(folder, contract, {"bytecode": stored["bytecode"] + "00", "storageLayout": stored["storageLayout"]})


def misread(folder: Path, contract: str, constant: int, misread_as: int) -> None:
    """Make the artifact in `folder` another build, whose code has another number wherever it pushes `constant`."""
    length = (constant.bit_length() + 7) // 8
    pushed, instead = (
        bytes([opcode_values.PUSH0 + length]) + one.to_bytes(length, "big") for one in (constant, misread_as)
    )
    stored = json.loads((folder / f"{contract}.json").read_text())
    codes = {name: bytes.fromhex(stored[name].removeprefix("0x")) for name in ("bytecode", "deployedBytecode")}
    assert all(pushed in code for code in codes.values())
    _replace(folder, contract, {name: code.replace(pushed, instead).hex() for name, code in codes.items()})


def lay_out_again(folder: Path, contract: str, file: str | None, edits: tuple[tuple[str, str], ...]) -> None:
    """As `rebuild`, but only the storage layout is compiled, which takes a fraction of the time: for builds that are
    refused before their code matters."""

    def compiled() -> dict[str, Any]:
        with _edited(contract, file, edits) as (source, sources):
            prepared = prepare(source, sources)
            made = outputs_from_compiler_data(prepared, ("layout",))["layout"]
            return _layout(made, _modules(prepared.annotated_vyper_module))

    layout = shared(f"layout {contract} {file} {edits}", compiled)
    relayout(folder, contract, lambda stored: (stored.clear(), stored.update(layout)))


def _compiled(contract: str, file: str | None, edits: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """What is other in the artifact of the changed build. Compiling takes seconds, so tests share it."""

    def compiled() -> Compiled:
        with _edited(contract, file, edits) as (source, sources):
            return compile_contract(source, sources)

    made = shared(f"variant {contract} {file} {edits}", compiled)
    return {
        "bytecode": made.bytecode.hex(),
        "deployedBytecode": made.deployed_bytecode.hex(),
        "storageLayout": made.storage_layout,
        "abi": made.abi,
    }


@contextmanager
def _edited(contract: str, file: str | None, edits: tuple[tuple[str, str], ...]) -> Iterator[tuple[Path, Path]]:
    """A copy of the sources with the edits in it: the contract's own file, and the directory."""
    source = Path(table()[contract]["source"]).relative_to("contracts")
    with TemporaryDirectory() as scratch:
        sources = Path(scratch) / "contracts"
        shutil.copytree(ROOT / "contracts", sources)
        own = sources / source
        own.write_text(own.read_text() + (ADDITION if contract == "LedgerManager" else "\n# another build\n"))
        edited = sources / (file or source)
        text = edited.read_text()
        for pattern, replacement in edits:
            text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
            assert count == 1, f"{pattern} is not in {edited.name}"
        edited.write_text(text)
        yield own, sources


def _replace(folder: Path, contract: str, parts: dict[str, Any]) -> None:
    path = folder / f"{contract}.json"
    stored = json.loads(path.read_text())
    known = {(entry["type"], entry.get("name")) for entry in stored["abi"]}
    added = [entry for entry in parts.get("abi", []) if (entry["type"], entry.get("name")) not in known]
    path.write_text(json.dumps(stored | parts | {"abi": stored["abi"] + added, "sourceHashes": {}}))
    artifacts.load.cache_clear()
