# SPDX-License-Identifier: Apache-2.0
"""A file whose space is allocated in advance, for rows that the store cannot take because the disk is full.

Each row is a line of JSON, and is on disk when `append` returns. Zeros follow the last row. A row without a line end
was cut by a crash, before `append` returned.
"""

from __future__ import annotations

import json
import os
import shlex
import threading
from pathlib import Path
from typing import Any, Final

from serving_network.store.opening import JournalFailure
from serving_network.untrusted import reason_of

SIZE: Final = 2**20


class SpoolFull(OSError):
    """The allocated space is used up."""


class Spool:
    """One spool. It may be used from several threads."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Open the file, and allocate its space. Raises OSError if there is not enough."""
        self._path = path
        self._size = SIZE if size is None else size
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self._file, 0, self._size)
            os.fsync(self._file)
            self._end = len(self._content())
        except BaseException:
            os.close(self._file)
            raise

    @property
    def end(self) -> int:
        """The number of bytes in use; 0 if there are no rows."""
        return self._end

    def append(self, row: dict[str, Any]) -> None:
        """Write a row to the disk. Raises SpoolFull and OSError."""
        line = json.dumps(row).encode() + b"\n"
        with self._lock:
            if self._end + len(line) > self._size:
                raise SpoolFull("The spool is full.")
            os.pwrite(self._file, line, self._end)
            os.fdatasync(self._file)
            self._end += len(line)

    def rows(self) -> tuple[list[dict[str, Any]], int]:
        """All rows, and the end that `clear` needs. Raises JournalFailure, and keeps all rows, if one is damaged."""
        with self._lock:
            content = self._content()
        rows = []
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise self.damaged(number, error) from error
        return rows, len(content)

    def damaged(self, number: int, error: Exception) -> JournalFailure:
        """The failure to raise if the row with this number, from 1, is not what `append` wrote."""
        return JournalFailure(
            f"Row {number} of {self._path} is damaged.",
            cause=f"{reason_of(error)}. The file has requests that were served while the store took no rows.",
            next_step="Take this row out, which keeps a copy of the file and all other rows, and run again:"
            f" sed -i.damaged {number}d {shlex.quote(str(self._path))}",
        )

    def clear(self, end: int) -> None:
        """Remove all rows, unless some were appended after the rows up to `end` were read."""
        with self._lock:
            if self._end != end:
                return
            os.pwrite(self._file, bytes(self._end), 0)
            os.fdatasync(self._file)
            self._end = 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _content(self) -> bytes:
        """The bytes up to the last line end."""
        content = os.pread(self._file, self._size, 0)
        return content[: content.rfind(b"\n") + 1]
