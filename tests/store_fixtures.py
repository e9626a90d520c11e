# SPDX-License-Identifier: Apache-2.0
"""The same test on both stores: a test that takes `location` runs once on SQLite and once on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_network.store.location import Location
from tests.postgres import PostgresServer, missing, postgres_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of this test session, started by the first test that needs it."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A store that does not exist yet."""
    if request.param == "sqlite":
        return tmp_path / "j"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.store(tmp_path / "j")
