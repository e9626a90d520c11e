# SPDX-License-Identifier: Apache-2.0
"""A private chain in this process: `EmbeddedChain`."""

from .node import EmbeddedChain

__all__ = ["EmbeddedChain"]
