"""One settlement run at a time per provider.

The operating system holds the lock, on an open file: it ends with the process that took it, however that
process ends, so that a crash never blocks the next run. It lies in one place for all journals of a provider,
because two runs with two journals could sign for the same requests.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving_network.errors import ServingError


class RunInProgress(ServingError):
    """Another process is settling for this provider."""

    exit_code = 6


@contextmanager
def run_lock(directory: Path, name: str) -> Iterator[None]:
    """Hold the lock called `name` while the block runs. Raises RunInProgress if somebody else holds it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise RunInProgress(
                "Another settlement of this provider is running.",
                cause=f"Process {holder} holds {directory / name}.lock.",
                next_step="Wait for it to end, then run again.",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
