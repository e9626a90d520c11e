# SPDX-License-Identifier: Apache-2.0
"""Positions: one number for the place of an event on the chain, in the order of the chain."""

from __future__ import annotations

from typing import Final

_LOG_BITS: Final = 20
LOGS_PER_BLOCK: Final = 1 << _LOG_BITS
"""More than fit into any block: a log costs at least 375 gas."""
BLOCKS_AT_MOST: Final = 1 << (63 - _LOG_BITS)


def position_of(block: int, log_index: int) -> int:
    """The position of an event."""
    return block << _LOG_BITS | log_index


def block_of(position: int) -> int:
    """The number of an event's block."""
    return position >> _LOG_BITS


def log_index_of(position: int) -> int:
    """The index of an event's log in its block."""
    return position % LOGS_PER_BLOCK


def end_of(block: int) -> int:
    """A position after all events of a block, and before those of the next one."""
    return position_of(block + 1, 0)


BLOCK_SQL: Final = f">> {_LOG_BITS}"
"""Turns a position into a block's number in SQL: `position >> 20`."""
