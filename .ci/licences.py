# SPDX-License-Identifier: Apache-2.0
"""Check that every Python and Vyper file starts with its licence; `make lint` runs this, `make format` adds the line.

python .ci/licences.py [--fix]

The line comes first, or second after a shebang. The exit status is 1 if a file lacks it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = (".ci", "benchmarks", "contracts", "examples", "proofs", "src", "tests")
LICENCE = "# SPDX-License-Identifier: Apache-2.0\n"


def sources(root: Path) -> Iterator[Path]:
    """The Python and Vyper files of a checkout."""
    yield from root.glob("*.py")
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            if path.suffix in (".py", ".vy") and "node_modules" not in path.parts:
                yield path


def missing(root: Path) -> list[Path]:
    """The files without the line."""
    return sorted(path for path in sources(root) if not _has_licence(path.read_text("utf-8")))


def _has_licence(text: str) -> bool:
    lines = text.splitlines(keepends=True)
    return LICENCE in lines[1 if text.startswith("#!") else 0 :][:1]


def add(path: Path) -> None:
    """Add the line to a file."""
    text = path.read_text("utf-8")
    shebang, rest = text.split("\n", 1) if text.startswith("#!") else ("", text)
    path.write_text((shebang and f"{shebang}\n") + LICENCE + rest, "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description="Check that every Python and Vyper file starts with its licence.")
    parser.add_argument("--fix", action="store_true", help="add the line where it is missing")
    fix = parser.parse_args().fix
    found = missing(ROOT)
    for path in found:
        if fix:
            add(path)
        else:
            sys.stdout.write(f"{path.relative_to(ROOT)}: no licence; run make format\n")
    return 1 if found and not fix else 0


if __name__ == "__main__":
    sys.exit(main())
