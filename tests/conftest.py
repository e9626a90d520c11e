# SPDX-License-Identifier: Apache-2.0
"""Settings for all tests."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import scratch, shared

# An EVM creates many small objects and few cycles: collecting cycles less often saves 5 % of the time.
gc.set_threshold(100_000, 50, 100)

# A process that waits for a core draws slowly, too. A mutation run has a profile of its own.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if settings.get_current_profile_name() == "default":
    settings.load_profile("suite")


# A shell starts its background jobs with Ctrl-C ignored, and the programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the workers import the tests one after the other: the first leaves them compiled for the rest."""
    with shared.turn("collection"):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare every later collection of cycles what was imported and collected, which lives as long as the process."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Create the directories that workers share. They start later and inherit the variables."""
    if hasattr(config, "workerinput"):
        return
    if (memory := scratch.memory()) is not None:
        directory = Path(tempfile.mkdtemp(prefix="st-", dir=memory))
        # At the exit, after multiprocessing has removed its own directory in there.
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
        directory.chmod(0o711)  # PostgreSQL runs as another user
        os.environ["TMPDIR"] = tempfile.tempdir = str(directory)
    os.environ[shared.VARIABLE] = tempfile.mkdtemp(prefix="tests-shared-")


def pytest_sessionfinish(exitstatus: int) -> None:
    """Keep the files of a run that failed."""
    if exitstatus != pytest.ExitCode.OK:
        atexit.unregister(shutil.rmtree)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and (directory := os.environ.pop(shared.VARIABLE, None)):
        shutil.rmtree(directory)
