"""What holds for every test."""

from __future__ import annotations

import gc

# An EVM makes many small objects and few cycles: looking for cycles this seldom saves a twentieth of the time.
gc.set_threshold(100_000, 50, 100)
