# SPDX-License-Identifier: Apache-2.0
"""`make lint` finds unused code, and allowances that are no longer needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serving_network.contracts.build.artifacts import ROOT

SCRIPT = ROOT / ".ci" / "unused.py"


def test_unused_code_and_stale_allowances_are_reported(tmp_path: Path) -> None:
    package = tmp_path / "src" / "serving_network"
    (package / "cli").mkdir(parents=True)
    (package / "cli" / "main.py").write_text('print({\n    "named": "A line of help",\n})\n')
    (package / "cli" / "named.py").write_text("def named() -> None: ...\n")
    (package / "money.py").write_text("def to_coins() -> None: ...\ndef nobody_calls_this() -> None: ...\n")
    found = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    lines = found.stdout.splitlines()
    assert lines[0] == "src/serving_network/money.py:2: unused function 'nobody_calls_this'"
    assert "unused.py: ALLOWED needs no entry for hatch_build.py" in lines
    assert not [line for line in lines[1:] if not line.startswith("unused.py: ")]
    assert "unused.py: ALLOWED needs no entry for src/serving_network/money.py" not in lines
    assert found.returncode == 1
