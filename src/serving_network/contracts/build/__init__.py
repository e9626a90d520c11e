# SPDX-License-Identifier: Apache-2.0
"""Compiles the contracts. Runs before the package exists, so it imports nothing of it but itself."""

from .artifacts import build
from .errors import BuildError

__all__ = ["BuildError", "build"]
