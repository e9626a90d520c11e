# SPDX-License-Identifier: Apache-2.0
"""Measure the gas of every operation, print it and compare it with the committed figures.

python -m benchmarks.gas             exit with status 1 if an operation exceeds its budget or a figure changed
python -m benchmarks.gas --update    write benchmarks/gas.json and the tables of docs/gas.md
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.gas.report import DOCS, documented, printed
from benchmarks.gas.snapshot import UPDATE, differences, measure_everything, over_budget, read, too_large, write


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Measure the gas of every operation and compare it with the committed figures."
    )
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
    for title, lines in (("Over the budget or the size limit", broken), (UPDATE, changed)):
        if lines:
            sys.stdout.write("\n".join(["", title, *lines, ""]))
    return 1 if broken or changed else 0


if __name__ == "__main__":
    sys.exit(main())
