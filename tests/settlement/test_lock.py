# SPDX-License-Identifier: Apache-2.0
"""One run at a time: who holds the lock is told, and nothing that a run leaves behind blocks the next."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serving_network.files import RunInProgress, lock


def test_the_lock_names_the_process_that_holds_it(tmp_path: Path) -> None:
    place = tmp_path / "made" / "for it"
    with lock(place / "p.lock"):
        held = place / "p.lock"
        assert held.read_text() == f"{os.getpid()}\n"
        assert stat.S_IMODE(held.stat().st_mode) == 0o600
        with pytest.raises(RunInProgress) as caught, lock(place / "p.lock"):
            pass
        assert str(caught.value.cause).startswith(f"Process {os.getpid()} holds ")
        assert held.read_text() == f"{os.getpid()}\n"
    with lock(place / "p.lock"):
        pass


@pytest.mark.parametrize("left", ["", "12345678901234567890123456789012345", "no number\n", "\xff"])
def test_a_stale_lock_file_is_overwritten(tmp_path: Path, left: str) -> None:
    (tmp_path / "p.lock").write_text(left, "latin-1")
    with lock(tmp_path / "p.lock"):
        assert (tmp_path / "p.lock").read_text() == f"{os.getpid()}\n"
        (tmp_path / "p.lock").write_text(left, "latin-1")
        with pytest.raises(RunInProgress) as caught, lock(tmp_path / "p.lock"):
            pass
        assert ("Process unknown holds" in str(caught.value.cause)) is not bool(left)


def test_the_lock_is_released_if_the_run_fails(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(2):
        with pytest.raises(ValueError, match="stop"), lock(tmp_path / "p.lock"):
            raise ValueError("stop")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
