# SPDX-License-Identifier: Apache-2.0
"""Compile one Vyper contract, and complete the storage layout with what the compiler leaves out.

The code is compiled from the compiler's standard JSON input, so that it is what a verification service gets when it
compiles the same input.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import vyper
from vyper.ast import nodes
from vyper.cli.vyper_json import compile_json
from vyper.compiler.input_bundle import FilesystemInputBundle
from vyper.compiler.phases import CompilerData
from vyper.compiler.settings import Settings
from vyper.semantics.data_locations import DataLocation
from vyper.semantics.types import DArrayT, FlagT, HashMapT, SArrayT, StructT, VyperType

from .errors import CompilerMismatch, DuplicateName, LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

VYPER_VERSION = "0.4.3"
EVM_VERSION = "cancun"

_PACKED = re.compile(r"^# @custom:packed (?P<variable>\w+) (?P<fields>\w+:\d+(?:, \w+:\d+)*)$", re.MULTILINE)


@dataclass(frozen=True)
class Compiled:
    """One compiled contract: the compiler's ABI, the code, and the files that it was built from.

    `raw_returns` are the functions that encode their result by hand, which the compiler's ABI declares as bytes.
    `structs` maps each struct (`Name`, or `module.Name` for a module's) to its components, as listed in an ABI.
    """

    abi: list[dict[str, Any]]
    raw_returns: frozenset[str]
    structs: dict[str, list[dict[str, Any]]]
    bytecode: bytes
    deployed_bytecode: bytes
    storage_layout: dict[str, Any]
    settings: dict[str, Any]
    standard_json: dict[str, Any]
    sources: list[Path]


def prepare(source: Path, search_path: Path) -> CompilerData:
    """The compiler's data of a contract, before compilation. Imports are resolved under `search_path`.

    Raises `CompilerMismatch` if the installed compiler is not the pinned version.
    """
    if vyper.__version__ != VYPER_VERSION:
        raise CompilerMismatch(
            f"Vyper {VYPER_VERSION} is required, but {vyper.__version__} is installed. Run: make clean build"
        )
    bundle = FilesystemInputBundle([search_path])
    return CompilerData(
        bundle.load_file(source.resolve()),
        bundle,
        settings=Settings(evm_version=EVM_VERSION, experimental_codegen=False),
    )


def compile_contract(source: Path, search_path: Path) -> Compiled:
    """Compile one contract. Raises `BuildError`, and the compiler's errors for invalid source code.

    `standard_json` is the input with the paths of the sources instead of their texts.
    """
    contract = prepare(source, search_path)
    module = contract.annotated_vyper_module
    settings = contract.settings
    sources = [source.resolve(), *(file.resolved_path for file in contract.resolved_imports.compiler_inputs)]
    target = _path(source, search_path)
    paths = {_path(file, search_path): file for file in sources}
    standard_input = {
        "language": "Vyper",
        "sources": {path: {"content": paths[path].read_text(encoding="utf-8")} for path in sorted(paths)},
        "settings": {
            "evmVersion": settings.evm_version,
            "optimize": str(settings.optimize),
            "experimentalCodegen": settings.experimental_codegen,
            "search_paths": ["."],
            "outputSelection": {target: ["abi", "evm.bytecode", "evm.deployedBytecode", "layout", "metadata"]},
        },
    }
    _refuse_duplicates(paths)
    output = compile_json(standard_input, _failed)["contracts"][target][source.stem]
    modules = _modules(module)
    return Compiled(
        abi=output["abi"],
        raw_returns=frozenset(one.name for one in contract.global_ctx.exposed_functions if one.do_raw_return),
        structs=dict(_structs(module)),
        bytecode=bytes.fromhex(output["evm"]["bytecode"]["object"].removeprefix("0x")),
        deployed_bytecode=bytes.fromhex(output["evm"]["deployedBytecode"]["object"].removeprefix("0x")),
        storage_layout=_layout(output["layout"], modules),
        settings={
            "name": "vyper",
            "version": vyper.__long_version__,
            "evmVersion": settings.evm_version,
            "optimize": str(settings.optimize),
            "codegen": "venom" if settings.experimental_codegen else "legacy",
            "settings": settings.as_dict(),
        },
        standard_json=standard_input | {"sources": sorted(paths)},
        sources=sources,
    )


def _path(source: Path, search_path: Path) -> str:
    return source.resolve().relative_to(search_path.resolve()).as_posix()


def _refuse_duplicates(paths: Iterable[str]) -> None:
    """The compiler finds the sources of a standard JSON input by their names without folders."""
    names = Counter(path.rpartition("/")[2] for path in paths)
    if duplicates := [path for path in paths if names[path.rpartition("/")[2]] > 1]:
        raise DuplicateName(f"{' and '.join(duplicates)} have the same name: rename one of them")


def _failed(_file: str | None, error: Exception, _component: str) -> NoReturn:
    raise error


def _modules(top: nodes.Module) -> dict[str, nodes.Module]:
    """The modules of a contract that have state, by name in the storage layout; "" is the contract itself."""
    found = {"": top}
    for declaration in top.get_children(nodes.InitializesDecl):
        info = declaration._metadata["initializes_info"].module_info
        for name, module in _modules(info.module_node).items():
            found[f"{info.alias}.{name}".rstrip(".")] = module
    return found


def _structs(module: nodes.Module, prefix: str = "") -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for struct in module.get_children(nodes.StructDef):
        yield prefix + struct.name, struct._metadata["struct_type"].to_abi_arg()["components"]
    for info in module._metadata["type"].imported_modules.values():
        yield from _structs(info.module_node, f"{prefix}{info.alias}.")


def _layout(exported: dict[str, Any], modules: dict[str, nodes.Module]) -> dict[str, Any]:
    """The compiler's layout, plus the bits of packed words and the members of stored structs and flags.

    A packed word declares its bits, lowest first, in a comment: `# @custom:packed VARIABLE FIELD:BITS, ...`.
    """
    stored = [kind for module in modules.values() for kind in _stored_types(module)]
    return {
        **exported,
        "packed": {name: fields for prefix, module in modules.items() for name, fields in _packed(prefix, module)},
        "structs": {
            kind.name: {field: str(member) for field, member in kind.members.items()}
            for kind in stored
            if isinstance(kind, StructT)
        },
        "flags": {kind.name: list(kind._flag_members) for kind in stored if isinstance(kind, FlagT)},
    }


def _stored_types(module: nodes.Module) -> Iterator[VyperType]:
    for declaration in module.get_children(nodes.VariableDecl):
        variable = declaration.target._metadata["varinfo"]
        if variable.location is DataLocation.STORAGE:
            yield from _with_parts(variable.typ)


def _with_parts(kind: VyperType) -> Iterator[VyperType]:
    yield kind
    match kind:
        case HashMapT():
            yield from _with_parts(kind.value_type)
        case SArrayT() | DArrayT():
            yield from _with_parts(kind.value_type)
        case StructT():
            for member in kind.members.values():
                yield from _with_parts(member)


def _packed(prefix: str, module: nodes.Module) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    declared = list(_PACKED.finditer(module.full_source_code))
    if len(declared) != module.full_source_code.count("@custom:packed"):
        raise LayoutError(f"{module.path}: write @custom:packed as VARIABLE FIELD:BITS, ...")
    stored = {declaration.target.id for declaration in module.get_children(nodes.VariableDecl)}
    for match in declared:
        if match["variable"] not in stored:
            raise LayoutError(f"{module.path}: @custom:packed names {match['variable']}, which is not a variable")
        fields = (field.partition(":") for field in match["fields"].split(", "))
        yield f"{prefix}.{match['variable']}".lstrip("."), [(field, int(bits)) for field, _, bits in fields]
