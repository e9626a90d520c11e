# SPDX-License-Identifier: Apache-2.0
"""The programs that can run a local chain."""

from enum import StrEnum


class Node(StrEnum):
    """What runs the chain."""

    EMBEDDED = "embedded"
    ANVIL = "anvil"
