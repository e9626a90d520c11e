# SPDX-License-Identifier: Apache-2.0
"""The tree in the docstring of `serving_network.errors` shows every exception of the package, with its module.

The subclasses of DeclaredError are left out: there is one per error of the wire format, and
`serving_network.contracts.errors` exports them.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import serving_network
from serving_network import errors
from serving_network.contracts import errors as contract_errors
from serving_network.contracts.errors import DeclaredError

Entry = tuple[int, str, str]
"""Depth in the tree, name of the class, module below `serving_network`."""

_LINE = re.compile(r"(?P<branches>(?:[│├└─ ]{4})*)(?P<name>[A-Z]\w+) +(?:(?P<module>[a-z_.]+): )?\S")
_NOT_IMPORTED = ("serving_network.__main__", "serving_network.contracts.build")


def test_the_tree_shows_every_exception_of_the_package() -> None:
    _import_every_module()
    shown = sorted(_shown())
    assert shown == sorted(_classes(errors.ServingError, 0))


def test_every_error_of_the_wire_format_is_exported() -> None:
    _import_every_module()
    assert {kind.__name__ for kind in _subclasses(DeclaredError)} | {"DeclaredError"} == set(contract_errors.__all__)
    assert {kind.__module__.rpartition(".")[0] for kind in _subclasses(DeclaredError)} == {contract_errors.__name__}


def _shown() -> Iterator[Entry]:
    for line in (errors.__doc__ or "").splitlines():
        match = _LINE.match(line)
        if match is not None and (match["branches"] or match["name"] == "ServingError"):
            yield len(match["branches"]) // 4, match["name"], match["module"] or "errors"


def _classes(kind: type[Exception], depth: int) -> Iterator[Entry]:
    yield depth, kind.__name__, kind.__module__.removeprefix("serving_network.")
    if kind is not DeclaredError:
        for child in kind.__subclasses__():
            if child.__module__.startswith("serving_network."):
                yield from _classes(child, depth + 1)


def _subclasses(kind: type[DeclaredError]) -> Iterator[type[DeclaredError]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("serving_network."):
            yield child
            yield from _subclasses(child)


def _import_every_module() -> None:
    for module in pkgutil.walk_packages(serving_network.__path__, "serving_network."):
        if not module.name.startswith(_NOT_IMPORTED):
            importlib.import_module(module.name)
