"""Other builds of the contracts: the real sources, changed in one place and compiled."""

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from serving_network.contracts import artifacts
from serving_network.contracts.build.artifacts import ROOT, table
from serving_network.contracts.build.compiler import compile_contract

# A function that only another build of the ledger has; the services have no room for one.
RELEASE = '''


@external
@pure
def release() -> uint256:
    """
    @notice Which build this is.
    """
    return 2
'''


def rebuild(folder: Path, contract: str, *, file: str | None = None,
            edits: tuple[tuple[str, str], ...] = ()) -> None:
    """Compile `contract` from sources in which every regular expression of `edits` is replaced once, and put its
    artifact into `folder` in place of the present one. The ledger also gets a function that tells the build.

    `file` is the source that is edited, from the directory of contracts; by default the contract's own.
    """
    path = folder / f"{contract}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | _compiled(contract, file, edits)))
    artifacts.load.cache_clear()


@cache
def _compiled(contract: str, file: str | None, edits: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """What is other in the artifact of the changed build. Compiling takes seconds, so tests share it."""
    source = Path(table()[contract]["source"]).relative_to("contracts")
    with TemporaryDirectory() as scratch:
        sources = Path(scratch) / "contracts"
        shutil.copytree(ROOT / "contracts", sources)
        own = sources / source
        own.write_text(own.read_text() + (RELEASE if contract == "LedgerManager" else "\n# another build\n"))
        edited = sources / (file or source)
        text = edited.read_text()
        for pattern, replacement in edits:
            text, count = re.subn(pattern, replacement, text, count=1, flags=re.MULTILINE)
            assert count == 1, f"{pattern} is not in {edited.name}"
        edited.write_text(text)
        made = compile_contract(own, sources)
    return {"bytecode": made.bytecode.hex(), "deployedBytecode": made.deployed_bytecode.hex(),
            "storageLayout": made.storage_layout, "sourceHashes": {}}


def relayout(folder: Path, contract: str, change: Callable[[Any], Any]) -> None:
    """Make the artifact in `folder` another build whose layout `change` has changed."""
    path = folder / f"{contract}.json"
    stored = json.loads(path.read_text())
    change(stored["storageLayout"])
    path.write_text(json.dumps(stored | {"bytecode": stored["bytecode"] + "00", "sourceHashes": {}}))
    artifacts.load.cache_clear()
