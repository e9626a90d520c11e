# SPDX-License-Identifier: Apache-2.0
"""Everything that is installed with the package is imported by it; what only tests import is an extra."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = {"py-evm": "eth", "safe-pysha3": "sha3"}
"""The modules of distributions with another name."""


def test_each_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^\w-]", one)[0] for one in project["dependencies"]]
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE))
    assert [name for name in names if MODULES.get(name, name.replace("-", "_")) not in imported] == []
