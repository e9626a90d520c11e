# SPDX-License-Identifier: Apache-2.0
"""Values that several workers of a test run share; the first worker that needs one computes it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from serving_network.contracts.build.compiler import Compiled

VARIABLE = "TESTS_SHARED_DIRECTORY"

Made = TypeVar("Made")


def shared(key: str, make: Callable[[], Made]) -> Made:
    """What `make` returns, computed once per test run for each key; other workers wait for it.

    Outside a test run it is computed every time.
    """
    directory = os.environ.get(VARIABLE)
    if directory is None:
        return make()
    path = Path(directory) / hashlib.sha256(key.encode()).hexdigest()
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if stored := file.read():
            known: Made = pickle.loads(stored)
            return known
        made = make()
        file.write(pickle.dumps(made))
    return made


@contextmanager
def turn(name: str) -> Iterator[None]:
    """Work that one worker of a test run does at a time."""
    directory = os.environ.get(VARIABLE)
    if directory is None:
        yield
        return
    with (Path(directory) / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compile_contract(source: Path, search_path: Path) -> Compiled:
    """Compile a contract once per test run. Only for sources that no test changes."""
    from serving_network.contracts.build import compiler

    return shared(f"contract {source} {search_path}", lambda: compiler.compile_contract(source, search_path))
