# SPDX-License-Identifier: Apache-2.0
"""Files that several processes use: written whole, and locked while they change."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from serving_network.errors import ServingError

SHORT_WAIT: Final = 10.0
"""Seconds to wait for a lock that is held only while a small file is read and written again."""
_POLL: Final = 0.02


class RunInProgress(ServingError):
    """Another process holds the lock."""

    exit_code = 6


@contextmanager
def lock(path: Path, busy: str = "Another run is in progress.", *, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; wait for it for at most `wait` seconds.

    The operating system holds the lock, on an open file: it ends with the process that took it, however that process
    ends, so a crash never blocks the next run. The file contains the number of the process.

    Raises RunInProgress with the message `busy`, naming the holder.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, path, busy, time.monotonic() + wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, busy: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < deadline:
                time.sleep(_POLL)
                continue
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise RunInProgress(
                busy,
                cause=f"Process {holder} holds {path}.",
                next_step="Wait for it to end, then run again.",
            ) from error
        return


def write_whole(path: Path, text: str, *, mode: int = 0o600, new: bool = False) -> None:
    """Write a file so that a crash leaves the old content or the new one, never a part.

    With `new`, raises FileExistsError if the file is there already. An existing file keeps its mode.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = path.resolve() if path.is_symlink() else path
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode & 0o777
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    scratch = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(scratch, path)
        else:
            scratch.replace(path)
    finally:
        with suppress(FileNotFoundError):
            scratch.unlink()
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
