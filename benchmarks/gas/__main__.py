"""Measure everything, print it, and compare it with what is committed.

python -m benchmarks.gas             fails when a budget is broken or a figure is not as committed
python -m benchmarks.gas --update    write benchmarks/gas.json and the tables of docs/gas.md
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.gas.report import DOCS, documented, printed
from benchmarks.gas.snapshot import differences, measure_everything, over_budget, read, too_large, write


def main() -> int:
    parser = argparse.ArgumentParser(description="Gas of every operation, and whether it may be so.")
    parser.add_argument("--update", action="store_true", help="write the snapshot and the tables of the documentation")
    update = parser.parse_args().update

    measured = measure_everything()
    sys.stdout.write(printed(measured))
    broken = over_budget(measured["operations"]) + too_large(measured["code"])
    if update:
        write(measured)
        DOCS.write_text(documented(DOCS.read_text(), measured))
        changed = []
    else:
        committed = read()
        changed = [line for section in measured for line in differences(committed.get(section, {}), measured[section])]
    for title, lines in (("Broken", broken), ("Not as committed; make gas-update writes it down", changed)):
        if lines:
            sys.stdout.write("\n".join(["", f"{title}:", *lines, ""]))
    return 1 if broken or changed else 0


if __name__ == "__main__":
    sys.exit(main())
