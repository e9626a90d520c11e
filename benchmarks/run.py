# SPDX-License-Identifier: Apache-2.0
"""`make bench`: run every part of the benchmark, store its figures, and print docs/performance.md from them.

    python -m benchmarks.run                    # all parts
    python -m benchmarks.run chain startup      # these parts; the others keep their figures
    python -m benchmarks.run --page             # only print the page again

Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.page import printed

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "benchmarks" / "performance.json"
PAGE = ROOT / "docs" / "performance.md"
PARTS = ("startup", "chain", "settlement", "listings", "gateway")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the speed of all parts against their floors.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(available())}; all by default")
    parser.add_argument("--page", action="store_true", help="print the page from the stored figures only")
    given = parser.parse_args()
    unknown = set(given.parts) - set(available())
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    missed = 0
    for name in () if given.page else given.parts or available():
        figures = import_module(f"benchmarks.{name}").measure()
        stored = read()  # another run may have stored other parts meanwhile
        stored[name] = {"machine": machine(), "figures": [asdict(one) for one in figures]}
        missed += show(name, figures)
        FIGURES.write_text(json.dumps(stored, indent=2) + "\n", "utf-8")
    PAGE.write_text(printed(read()), "utf-8")
    return 1 if missed else 0


def read() -> dict[str, Any]:
    """The stored figures by part."""
    stored: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    return stored


def available() -> list[str]:
    """The parts that this checkout has."""
    return [name for name in PARTS if (ROOT / "benchmarks" / name / "__init__.py").exists()]


def machine() -> str:
    """What ratios do not depend on, and times do."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def show(part: str, figures: list[Figure]) -> int:
    """Print the figures. Returns how many miss their target."""
    sys.stdout.write(f"{part}\n")
    for one in figures:
        ratio = "" if one.ratio is None else f"{one.ratio:8.3g} x {one.floor}"
        verdict = {True: "reached", False: "MISSED", None: ""}[one.reached]
        sys.stdout.write(f"  {one.name:<44}{one.value:10.4g} {one.unit:<10}{ratio:<44}{verdict}\n")
    sys.stdout.flush()
    return sum(one.reached is False for one in figures)


if __name__ == "__main__":
    sys.exit(main())
