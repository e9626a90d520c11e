# SPDX-License-Identifier: Apache-2.0
"""Results of long runs, one JSON object a line, which survive being stopped at any moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, Any]]:
    """The results so far; half a line, left by a kill, is none."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def add(path: Path, result: dict[str, Any]) -> None:
    """Append one result."""
    with path.open("a") as results:
        results.write(json.dumps(result) + "\n")
