"""Compiles the contracts. Runs before the package exists, so it imports nothing of it but itself."""

from .artifacts import build

__all__ = ["build"]
