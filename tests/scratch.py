# SPDX-License-Identifier: Apache-2.0
"""Where tests put their files: in memory, if there is room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
"""Where Linux has files in memory. Tests that write every row to the disk spend a tenth of their time in doing so."""

MEMORY_BYTES = 4 * 2**30
"""So much must be free there, of which a run takes a small part."""


def memory() -> Path | None:
    """The directory in memory; None if there is none, little is free, or TMPDIR names another."""
    if "TMPDIR" in os.environ or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free <= MEMORY_BYTES:
        return None
    return MEMORY
