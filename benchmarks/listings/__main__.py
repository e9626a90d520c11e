# SPDX-License-Identifier: Apache-2.0
"""Measure listings, and print the figures."""

from __future__ import annotations

import sys

from benchmarks.listings import measure

if __name__ == "__main__":
    for one in measure():
        ratio = "" if one.ratio is None else f"{one.ratio:8.2f} x {one.floor}"
        sys.stdout.write(f"{one.name:<28}{one.value:>14,.2f} {one.unit:<10}{ratio}\n")
