# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from tests.clients.network_fixture import World, deployed_world
from tests.gateway.stage import Stage
from tests.store_fixtures import location, postgres

__all__ = ["location", "postgres"]

Result = TypeVar("Result")


@pytest.fixture(autouse=True)
def event_loop_of_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways run on this event loop, so tests of their parts do, too."""

    def run(work: Coroutine[Any, Any, Result]) -> Result:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)

    monkeypatch.setattr(asyncio, "run", run)


@pytest.fixture(scope="session")
def deployed() -> Iterator[World]:
    """A provider that is registered and confirmed, and a user who has an account with it."""
    with deployed_world() as world:
        world.with_account()
        yield world


@pytest.fixture
def world(deployed: World) -> Iterator[World]:
    with deployed.network.reset_afterwards():
        yield deployed


@pytest.fixture(scope="session")
def url(deployed: World) -> Iterator[str]:
    """Where programs outside this process reach the network."""
    with deployed.network.served() as url:
        yield url


@pytest.fixture
def stage(world: World, url: str, tmp_path: Path) -> Stage:
    return Stage(world, url, tmp_path / "provider.journal")
