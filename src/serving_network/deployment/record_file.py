# SPDX-License-Identifier: Apache-2.0
"""The file that keeps a record, `networks/NAME.json`: loading it, locking it, and writing it whole."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

from serving_network.deployment.errors import RecordProblem
from serving_network.deployment.record import Record
from serving_network.deployment.sense import check_sense
from serving_network.files import RunInProgress, lock, write_whole
from serving_network.untrusted import parse_json, printable, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RecordFile:
    """A record on disk, or only in memory if `path` is None.

    Use `open` for an existing file. The constructor is for a new record, whose file must not exist yet.
    """

    def __init__(self, path: Path | None, record: Record) -> None:
        self.path = path
        self.record = record
        self._stored: bytes | None = None

    @classmethod
    def open(cls, path: Path) -> RecordFile:
        """Read a record. Raises RecordProblem naming what is missing or wrong."""
        content = _read(path)
        if content is None:
            raise RecordProblem(
                f"There is no record {path}.",
                cause="Networks that you deploy have one; the network of serving up needs none.",
                next_step="Name the directory of its files with --files, or check it without a record: serving doctor",
            )
        file = cls(path, _parse(path, content))
        file._stored = content
        return file

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the record's lock while work goes on. The lock ends with the process.

        Raises RecordProblem if another run holds the lock, or has changed the record since it was read.
        """
        if self.path is None:
            yield
            return
        with ExitStack() as held:
            try:
                held.enter_context(lock(self.path.with_name(f".{self.path.stem}.lock")))
            except RunInProgress as error:
                raise RecordProblem(
                    f"Another run is at work on {self.path}.", cause=error.cause, next_step=error.next_step
                ) from error
            if _read(self.path) != self._stored:
                raise RecordProblem(
                    f"{self.path} was changed after it was read.",
                    cause="Another run wrote it. This run has sent nothing.",
                    next_step="Run this again.",
                )
            yield

    def save(self) -> None:
        """Write the record. A crash leaves the old file or the new one, never a part."""
        if self.path is None:
            return
        text = self.record.model_dump_json(indent=2, ensure_ascii=True) + "\n"
        write_whole(self.path, text, mode=0o644)
        self._stored = text.encode()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordProblem(
            f"The record {path} cannot be read.",
            cause=f"{reason_of(error)}.",
            next_step="Check the file type and permissions.",
        ) from error


def _parse(path: Path, content: bytes) -> Record:
    try:
        parse_json(content)  # refuses a duplicate key, which a merge of two records may leave behind
        record = Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _damaged(path, ".".join(str(part) for part in first["loc"]) or "file", first["msg"]) from error
    except ValueError as error:
        raise _damaged(path, "file", reason_of(error)) from error
    if (problem := check_sense(record)) is not None:
        raise _damaged(path, *problem)
    return record


def _damaged(path: Path, where: str, what: str) -> RecordProblem:
    return RecordProblem(
        f"{path} is damaged at {printable(where)}: {printable(what)}.",
        next_step=f"Restore {path} from version control.",
    )
