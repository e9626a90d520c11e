# SPDX-License-Identifier: Apache-2.0
"""The operator's side of a running gateway, apart from the listener of users.

A unix socket beside the store, which only its owner may use, answers `serving gateway status` and `drain`. Metrics are
served without authentication on a port of 127.0.0.1, if one is set.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from serving_network.errors import ConfigurationError, ServingError
from serving_network.gateway.admission import Admission
from serving_network.gateway.metrics import CONTENT_TYPE, Metrics
from serving_network.gateway.pool import Health
from serving_network.store.location import Location, beside
from serving_network.store.served import summarise
from serving_network.untrusted import reason_of

_LONGEST_PATH: Final = 100
_OPENED: Final = Path("/proc/self/fd")
_ANSWER_SECONDS: Final = 10


class GatewayNotRunning(ServingError):
    """No gateway runs on this store."""

    exit_code = 9


@dataclass
class Operations:
    """What operators see and change."""

    store: Location
    admission: Admission
    metrics: Metrics = field(default_factory=Metrics)
    url: str = ""
    metrics_url: str | None = None
    started: float = field(default_factory=time.time)
    settler: Callable[[], bool | None] = lambda: None
    health: Callable[[], list[Health]] = list

    def as_json(self) -> dict[str, Any]:
        """The state of the process, for `serving gateway status`."""
        return {
            "pid": os.getpid(),
            "url": self.url,
            "metrics": self.metrics_url,
            "started": int(self.started),
            "draining": self.admission.draining,
            "under_way": self.admission.under_way,
            "reserved": str(self.admission.reserved),
            "settler": self.settler(),
            "model_servers": [one._asdict() for one in self.health()],
            **self.metrics.as_json(),
        }

    async def text(self) -> str:
        """The metrics. Sums over users are read in a thread."""
        found = await asyncio.to_thread(summarise, self.store)
        gauges: list[tuple[str, str, float]] = [
            ("up", "1 while the gateway accepts requests, 0 while it drains.", 0 if self.admission.draining else 1),
            ("start_time_seconds", "When the gateway was started.", self.started),
            ("under_way", "Paid requests under way.", self.admission.under_way),
            ("reserved_wei", "Wei reserved by requests under way.", self.admission.reserved),
            ("requests_stored", "Requests in the store.", found.requests),
            ("users_stored", "Users in the store.", found.users),
            ("billed_wei", "Wei of all requests in the store.", found.billed),
            ("unsettled_wei", "Wei that is served and not settled.", found.unsettled),
            ("uncovered_wei", "Unsettled wei that balances without refunds do not cover.", found.uncovered),
            ("settled_time_seconds", "When the newest settlement was sent.", found.settled_at or 0),
        ]
        servers = self.health()
        gauges += [
            ("model_servers", "Model servers.", len(servers)),
            ("model_servers_available", "Model servers that answer.", sum(one.available for one in servers)),
        ]
        if (running := self.settler()) is not None:
            gauges.append(("settler_up", "1 while the settler that the gateway started runs.", int(running)))
        return self.metrics.text(gauges)


def control_path(store: Location) -> Path:
    """The socket of the gateway on this store."""
    path = beside(store, "").resolve()
    return path.with_name(f"{sha256(path.name.encode()).hexdigest()[:12]}.sock")


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address for a socket: its path, or if that is too long for the system, one by its opened directory.

    Raises ConfigurationError where there is no such address.
    """
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    if not _OPENED.is_dir():
        raise ConfigurationError(
            f"The path {path} is too long for a socket.", next_step="Choose a shorter path with --journal."
        )
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(_OPENED / str(directory) / path.name)
    finally:
        os.close(directory)


@asynccontextmanager
async def listening(operations: Operations, metrics_port: int | None) -> AsyncIterator[None]:
    """Answer operators while the block runs. The caller holds the lock of the store, so an old socket is stale."""
    path = control_path(operations.store)
    runners = [_runner(_control(operations))]
    try:
        await runners[0].setup()
        await web.SockSite(runners[0], _private_socket(path)).start()
        if metrics_port is not None:
            runners.append(_runner(_metrics(operations)))
            await runners[1].setup()
            await _listen_for_metrics(runners[1], metrics_port)
            host, port = runners[1].addresses[0][:2]
            operations.metrics_url = f"http://{host}:{port}/metrics"
        yield
    finally:
        for runner in runners:
            await runner.cleanup()
        path.unlink(missing_ok=True)


async def ask_gateway(store: Location, method: str, route: str) -> dict[str, Any]:
    """What the running gateway answers on its socket. Raises GatewayNotRunning."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    try:
        with _address(control_path(store)) as address:
            connector = aiohttp.UnixConnector(address)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
                http.request(method, f"http://gateway{route}") as answer,
            ):
                return dict(await answer.json())
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        has_no_socket = isinstance(error, OSError) and error.errno == errno.ENOENT
        raise GatewayNotRunning(
            f"No gateway runs on the store {store}.",
            cause=None if has_no_socket else f"{reason_of(error)}.",
            next_step="Start it: serving gateway run",
        ) from error


def _runner(application: web.Application) -> web.AppRunner:
    return web.AppRunner(application, access_log=None, shutdown_timeout=0.5)


def _control(operations: Operations) -> web.Application:
    async def status(_: web.Request) -> web.Response:
        confirmed = await operations.admission.signer_is_confirmed()
        return web.json_response(operations.as_json() | {"signer_confirmed": confirmed})

    async def drain(request: web.Request) -> web.Response:
        operations.admission.draining = request.path == "/drain"
        return web.json_response(operations.as_json())

    application = web.Application()
    application.router.add_get("/status", status)
    application.router.add_post("/drain", drain)
    application.router.add_post("/resume", drain)
    return application


def _metrics(operations: Operations) -> web.Application:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=await operations.text(), headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    return application


def _private_socket(path: Path) -> socket.socket:
    """A socket that only its owner may use. Nobody can connect between bind and chmod: it does not listen yet."""
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            made.bind(address)
        path.chmod(0o600)
    except BaseException:
        made.close()
        with suppress(FileNotFoundError):
            path.unlink()
        raise
    return made


async def _listen_for_metrics(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        raise ConfigurationError(
            f"Metrics cannot be served on port {port}.",
            cause=f"{reason_of(error)}.",
            next_step="Choose another metrics_port.",
        ) from error
