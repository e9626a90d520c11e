# SPDX-License-Identifier: Apache-2.0
"""Logs as JSON, one object a line, which cannot fill a disk, stall a request or be forged by a client.

A file is rotated at 10 MB, five old ones are kept, and a line has at most 2,000 characters. A thread writes; records
that it cannot keep up with are dropped. JSON escapes line breaks and control characters. What is logged of a request is
chosen field by field: no body, header or token.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import Queue
from typing import Any, Final

from serving_network.errors import ConfigurationError
from serving_network.files import private_file
from serving_network.untrusted import reason_of

MAX_LINE: Final = 2_000
MAX_FILE: Final = 10_000_000
OLD_FILES: Final = 5
_QUEUED: Final = 10_000


class JsonLines(logging.Formatter):
    """Formats a record as JSON: time, level, event, and the fields of its `facts`."""

    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", {})
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **facts,
        }
        if record.exc_info and record.exc_info[0] is not None:
            content["error"] = f"{record.exc_info[0].__name__}: {record.exc_info[1]}"
        line = json.dumps(content, default=str)
        if len(line) <= MAX_LINE:
            return line
        longest = max((name for name in content if isinstance(content[name], str)), key=lambda name: len(content[name]))
        kept = json.dumps(content | {longest: ""}, default=str)
        if len(kept) > MAX_LINE:
            return json.dumps({"time": content["time"], "level": content["level"], "event": "a record was too long"})
        # An escape has up to 12 characters, as a surrogate pair.
        return json.dumps(content | {longest: content[longest][: (MAX_LINE - len(kept)) // 12]}, default=str)


class _PrivateFile(RotatingFileHandler):
    """A log file that other users cannot read, also the new one after a rotation."""

    def _open(self) -> Any:
        private_file(Path(self.baseFilename))
        return super()._open()


class _Dropping(QueueHandler):
    """Hands records to the thread that writes. If 10,000 wait, the queue is full and the record is dropped."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


def settler_log(file: Path) -> Path:
    """The log of the settler, beside that of the gateway."""
    return file.with_name(f"{file.stem}-settler{file.suffix}")


@contextmanager
def logging_to(file: Path | None) -> Iterator[None]:
    """Log events and requests to `file` while the block runs, or events alone to standard error.

    Raises ConfigurationError if the file cannot be written. A disk that is full later loses log lines and nothing else.
    """
    logger = logging.getLogger("serving_network")
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
        logger.setLevel(logging.WARNING)
    else:
        try:
            handler = _PrivateFile(file, maxBytes=MAX_FILE, backupCount=OLD_FILES, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"The log {file} cannot be written.", cause=f"{reason_of(error)}.", next_step="Choose another log_file."
            ) from error
        logger.setLevel(logging.INFO)
    handler.setFormatter(JsonLines())
    raising, logging.raiseExceptions = logging.raiseExceptions, False
    queue: Queue[Any] = Queue(_QUEUED)
    listener = QueueListener(queue, handler)
    dropping = _Dropping(queue)
    propagating, logger.propagate = logger.propagate, False
    logger.addHandler(dropping)
    listener.start()
    try:
        yield
    finally:
        logger.removeHandler(dropping)
        logger.propagate = propagating
        listener.stop()
        with suppress(OSError):  # the disk is full
            handler.close()
        logging.raiseExceptions = raising
