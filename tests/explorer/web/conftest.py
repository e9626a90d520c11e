# SPDX-License-Identifier: Apache-2.0
"""An explorer in this process, on an index with a hostile provider."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from serving_network.explorer.web.application import Explorer
from serving_network.explorer.web.site import Source
from tests.explorer.web.synthetic import HOSTILE, INFERENCE, LEDGER, NOW, PROVIDER, USER, Size, build
from tests.store_fixtures import location, postgres

__all__ = ["location", "postgres"]

FRIEND = PROVIDER
NAMES = {"good-provider": FRIEND}


@dataclass(frozen=True)
class Answer:
    """What the explorer answered."""

    status: int
    text: str
    headers: dict[str, str]


class Browser:
    """Asks an explorer for pages."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """The answer to a request, redirects followed."""
        answer: ClientResponse = await self._client.request(method, path, headers=headers)
        return Answer(answer.status, (await answer.read()).decode(), dict(answer.headers))


@asynccontextmanager
async def browsing(source: Source, hosts: frozenset[str] = frozenset()) -> AsyncIterator[Browser]:
    """A browser of an explorer."""
    async with TestClient(TestServer(Explorer(source, hosts).application())) as client:
        yield Browser(client)


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index, which no test changes."""
    path = tmp_path_factory.mktemp("index") / "index.sqlite"
    build(path, Size(12, 40, 1_500))
    return path


@pytest.fixture
def source(index: Path) -> Source:
    """What the explorer shows, a minute after the last look at the chain."""
    return Source(index, "test", NAMES, clock=lambda: NOW + 60)


@pytest.fixture(scope="session")
def paths(index: Path) -> list[str]:
    """One path of each kind of page."""
    db = sqlite3.connect(index)
    ((batch, tx, block),) = db.execute("SELECT position, tx, position >> 20 FROM batch ORDER BY position DESC LIMIT 1")
    db.close()
    return [
        "/", "/providers", f"/provider/{HOSTILE}", f"/provider/{FRIEND}", "/users", f"/user/{USER}", "/settlements",
        f"/settlement/{batch}", f"/transaction/{tx}", f"/block/{block}", "/activity", "/owners",
        f"/contract/{INFERENCE}", f"/contract/{LEDGER}", "/search?q=llama", "/search?q=0x1", "/search",
    ]  # fmt: skip


def browse(
    source: Source, work: Callable[[Browser], Coroutine[Any, Any, Any]], hosts: frozenset[str] = frozenset()
) -> Any:
    """Run `work` with a browser."""

    async def run() -> Any:
        async with browsing(source, hosts) as browser:
            return await work(browser)

    return asyncio.run(run())
