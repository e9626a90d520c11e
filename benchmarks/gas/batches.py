# SPDX-License-Identifier: Apache-2.0
"""Gas per user for batches of every size, with one signature each and with one for all."""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.gas.network import Network
from benchmarks.gas.operations import Prepare, measure, settle_many, settle_with_one_signature

EACH_SIZES: Final = (1, 2, 5, 10, 20, 50)
ONE_SIZES: Final = (*EACH_SIZES, 100, 200)
MOMENTS: Final = {"first settlement": True, "later settlement": False}


def key(function: str, size: int, moment: str) -> str:
    return f"{function} x{size}, distinct users, {moment}, gas per user"


def measure_batches(net: Network) -> dict[str, int]:
    """Gas per user, rounded up; the network has at least 200 customers."""
    figures = {}
    for moment, first in MOMENTS.items():
        for size in ONE_SIZES:
            calls: dict[str, Prepare] = {"settleBatchWithTEE": partial(settle_with_one_signature, size, first=first)}
            if size in EACH_SIZES:
                calls["settleFeesWithTEE"] = partial(settle_many, size, 1, first=first)
            for function, prepare in calls.items():
                figures[key(function, size, moment)] = -(-measure(net, prepare).gas_used // size)
    return figures
