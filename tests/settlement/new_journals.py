# SPDX-License-Identifier: Apache-2.0
"""New journals for tests of what is written into them: copies of one that was created once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from serving_network.settlement.journal import open_journal
from serving_network.store.opening import Identity


def put_new_journal(path: Path, identity: Identity) -> None:
    """Put a journal in place of a path. To open a path where there is none takes five times as long."""
    path.write_bytes(_new_journal(identity))


@cache
def _new_journal(identity: Identity) -> bytes:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "journal"
        with open_journal(path, identity):
            pass
        return path.read_bytes()
