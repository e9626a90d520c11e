# SPDX-License-Identifier: Apache-2.0
"""How far each log was read, so that a run reads on from there.

A reading is written after its rows are durable. A run that is killed in between reads these rows again and finds all of
them known.
"""

from __future__ import annotations

import json
from typing import Final

from serving_network.messages.usage import Reading, Reject
from serving_network.settlement.journal.queue import Queue

MAX_KEPT_REJECTS: Final = 500
"""A log with more open rejects is read from its first line each time."""


class Readings(Queue):
    """Adds the positions of logs."""

    def reading(self, log: str) -> Reading | None:
        """How far a log was read by the last run that ended; None if it was never read."""
        found = self._db.execute(
            "SELECT file, byte_offset, line, header, tail FROM reading WHERE log = ?", (log,)
        ).fetchone()
        if found is None:
            return None
        kept = self._db.execute("SELECT value FROM meta WHERE key = ?", (_key(log),)).fetchone()
        file, offset, line, header, tail = found
        rejects = tuple(Reject(*one) for one in json.loads(kept[0])) if kept is not None else ()
        return Reading(log, file, offset, line, bytes(header), bytes(tail), rejects)

    def end_reading_at(self, reading: Reading) -> None:
        """Make everything recorded so far durable, then how far the log was read."""
        if len(reading.rejects) > MAX_KEPT_REJECTS:
            reading = reading._replace(offset=0, rejects=())
        with self._transaction():
            self._db.execute("DELETE FROM reading WHERE log = ?", (reading.log,))
            self._db.execute("INSERT INTO reading VALUES (?, ?, ?, ?, ?, ?)", reading[:6])
            self._db.execute("DELETE FROM meta WHERE key = ?", (_key(reading.log),))
            if reading.rejects:
                self._db.execute("INSERT INTO meta VALUES (?, ?)", (_key(reading.log), json.dumps(reading.rejects)))


def _key(log: str) -> str:
    """The entry of `meta` for the open rejects of a log."""
    return f"rejects of {log}"
