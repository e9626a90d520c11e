# SPDX-License-Identifier: Apache-2.0
"""The files that CONTRIBUTING.md names for each kind of change exist, and the functions that the architecture names."""

from __future__ import annotations

import re

from serving_network.contracts.build.artifacts import ROOT


def test_every_path_of_the_guide_exists() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in guide.splitlines() if line.startswith("|")]
    paths = [path for row in rows for path in re.findall(r"`([^`]+)`", row)]
    assert len(paths) > 30
    patterns = {path: re.sub(r"[A-Z]{3,}(?=[/.])", "*", path).rstrip("/") for path in paths}
    assert [path for path, pattern in patterns.items() if not any(ROOT.glob(pattern))] == []


def test_every_function_that_the_architecture_names_exists() -> None:
    page = ROOT / "docs" / "architecture.md"
    named = re.findall(r"\]\((\S+\.py)\) \(([^)]+)\)", page.read_text("utf-8"))
    functions = [(path, name) for path, names in named for name in re.findall(r"`(\w+)`", names)]
    assert len(functions) > 3
    sources = {path: (page.parent / path).read_text("utf-8") for path, _ in functions}
    assert [pair for pair in functions if f"def {pair[1]}(" not in sources[pair[0]]] == []
