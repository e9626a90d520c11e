# SPDX-License-Identifier: Apache-2.0
"""Files that several processes share: written atomically, and locked while they change."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from serving_network.errors import ServingError
from serving_network.untrusted import reason_of

SHORT_WAIT: Final = 10.0
"""Seconds to wait for a lock that is held only while a small file is rewritten."""
_POLL: Final = 0.02


class RunInProgress(ServingError):
    """Another process holds the lock."""

    exit_code = 6


def unreadable(kind: type[ServingError], path: Path, error: OSError | ValueError, content: str) -> ServingError:
    """The failure to raise for a file that cannot be read, or that does not contain `content`, such as "JSON"."""
    if isinstance(error, FileNotFoundError):
        return kind(f"There is no file {path}.", next_step="Check the path, then run the command again.")
    if isinstance(error, OSError):
        return kind(
            f"{path} cannot be read.",
            cause=f"{reason_of(error)}.",
            next_step="Check the path and its permissions, then run the command again.",
        )
    return kind(f"{path} is not {content}.", cause=f"{reason_of(error)}.", next_step=f"Fix {path} and run again.")


def private_directory(path: Path) -> None:
    """Create the directory and every missing one above it for the user alone (mode 0700)."""
    for one in reversed((path, *path.parents)):
        if not one.exists():
            one.mkdir(mode=0o700, exist_ok=True)


def private_file(path: Path) -> None:
    """Create the file if it does not exist. Nobody but its owner may read it (mode 0600), even if others could so far.

    An existing file is not opened: closing it would release the locks that this process holds on it.
    """
    if not path.exists():
        private_directory(path.parent)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    elif stat.S_ISREG(mode := path.stat().st_mode) and mode & 0o077:
        with suppress(PermissionError):  # the file of somebody else, who has decided
            path.chmod(0o600)


@contextmanager
def lock(path: Path, busy: str = "Another run is in progress.", *, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` while the block runs. Waits up to `wait` seconds for it.

    The operating system holds the lock on an open file and releases it when the process ends, even by a crash, so a
    stale lock never blocks the next run. The file contains the process id of the holder.

    Raises RunInProgress with the message `busy` and the id of the holder.
    """
    private_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, path, busy, time.monotonic() + wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def holder_of(path: Path) -> int | None:
    """The id of the process that holds the lock file `path`; None if no process does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).strip()
        return int(holder) if holder.isdigit() else None
    else:
        return None
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
                next_step="Wait for it to end or stop it, then run the command again.",
            ) from error
        return


def write_whole(path: Path, text: str, *, mode: int = 0o600, new: bool = False) -> None:
    """Write a file atomically: a crash leaves either the old content or the new one, never part of it.

    With `new`, raises FileExistsError if the file already exists. An existing file keeps its mode.
    """
    private_directory(path.parent)
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
