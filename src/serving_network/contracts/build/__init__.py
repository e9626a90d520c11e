# SPDX-License-Identifier: Apache-2.0
"""Compile the contracts. This runs before the package is built, so it imports only itself."""

from .artifacts import build
from .errors import BuildError

__all__ = ["BuildError", "build"]
