"""A private chain in this process: `EmbeddedChain`."""

from .node import EmbeddedChain

__all__ = ["EmbeddedChain"]
