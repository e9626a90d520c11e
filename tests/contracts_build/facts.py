# SPDX-License-Identifier: Apache-2.0
"""What the compiler knows of a contract before it generates code, read once per test run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vyper.ast import nodes
from vyper.compiler.phases import CompilerData

from serving_network.contracts.build.artifacts import ROOT, table
from serving_network.contracts.build.compiler import prepare
from tests.shared import shared

COMPILED = [name for name, entry in table().items() if entry["source"].endswith(".vy")]


@dataclass(frozen=True)
class Facts:
    """`abi` is the compiler's, `raw_returns` are the functions that encode their result by hand, and `raised` the
    signatures of the errors in every function that a call or the creation can reach."""

    abi: list[dict[str, Any]]
    raw_returns: frozenset[str]
    raised: frozenset[str]


def facts(name: str) -> Facts:
    """The facts of one of `COMPILED`."""
    source = ROOT / table()[name]["source"]
    return shared(f"facts of {name}", lambda: facts_of(source, ROOT / "contracts"))


def facts_of(source: Path, search_path: Path) -> Facts:
    prepared = prepare(source, search_path)
    raw = frozenset(one.name for one in prepared.global_ctx.exposed_functions if one.do_raw_return)
    return Facts(_abi(prepared), raw, frozenset(_raised(prepared)))


def _abi(prepared: CompilerData) -> list[dict[str, Any]]:
    """The usual output would also generate code, which the ABI does not need."""
    module = prepared.annotated_vyper_module._metadata["type"]
    abi: list[dict[str, Any]] = module.interface.to_toplevel_abi_dict()
    return abi + (module.init_function.to_toplevel_abi_dict() if module.init_function else [])


def _raised(contract: CompilerData) -> Iterator[str]:
    """Errors start with a capital letter; the functions that the contracts call start with a lower-case letter."""
    module = contract.global_ctx
    entered = [*module.exposed_functions, *([module.init_function] if module.init_function else [])]
    functions = {one for function in entered for one in (function, *function.reachable_internal_functions)}
    for function in functions:
        for call in function.ast_def.get_descendants(nodes.Call):
            if getattr(call.func, "id", "") == "method_id" and call.args[0].value[0].isupper():
                yield call.args[0].value
