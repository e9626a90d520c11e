# SPDX-License-Identifier: Apache-2.0
"""A share of a core for each of several processes, by the CPU controller of Linux's control groups.

With a share each, processes do not compete for one core, so that a machine with two cores shows what several processes
serve that have a core each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

GROUPS: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 10_000
"""The time in which a process may use its share."""


def missing() -> str | None:
    """Why no shares can be given, None if they can."""
    try:
        with _group("probe", PERIOD_US):
            return None
    except OSError as error:
        return f"control groups need Linux and root: {error}"


@contextmanager
def shares(pids: Collection[int], share: float) -> Iterator[None]:
    """Give each process at most this share of a core while the block runs. The whole core needs no group."""
    with ExitStack() as held:
        for pid in pids if share < 1 else ():
            group = held.enter_context(_group(str(pid), round(share * PERIOD_US)))
            (group / "cgroup.procs").write_text(str(pid))
            held.callback((group.parent / "cgroup.procs").write_text, str(pid))
        yield


@contextmanager
def _group(name: str, quota_us: int) -> Iterator[Path]:
    """A group of its own, of version 1 or 2."""
    version_1 = GROUPS / "cpu"
    group = (version_1 if version_1.is_dir() else GROUPS) / f"bench-{name}"
    group.mkdir()
    try:
        if version_1.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        yield group
    finally:
        group.rmdir()
