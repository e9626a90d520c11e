# SPDX-License-Identifier: Apache-2.0
"""Measure settling a usage log, and print the figures."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks.settlement import measure
from benchmarks.settlement.log import ROWS, USERS
from benchmarks.settlement.on_chain import settle_on_a_chain


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure settling a usage log, from its rows to signed settlements.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--format", choices=["jsonl", "csv"], default="jsonl")
    parser.add_argument("--chain", action="store_true", help="also send batches to a chain in another process")
    parser.add_argument("--chain-users", type=int, default=200, help="how many users to settle with on it")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    figures = measure(given.rows, given.users, given.format)
    if given.chain:
        with tempfile.TemporaryDirectory() as directory:
            figures += asyncio.run(settle_on_a_chain(Path(directory), given.chain_users))
    if given.json:
        sys.stdout.write(json.dumps([asdict(one) for one in figures], indent=1) + "\n")
        return
    for one in figures:
        ratio = "" if one.ratio is None else f"{one.ratio:8.2f} x {one.floor}"
        target = {None: "", True: "  reached", False: "  NOT reached"}[one.reached]
        sys.stdout.write(f"{one.name:<28}{one.value:>14,.2f} {one.unit:<10}{ratio}{target}\n")


if __name__ == "__main__":
    main()
