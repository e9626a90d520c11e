# SPDX-License-Identifier: Apache-2.0
"""The servers that are compared, each a process of its own on one core; model server and load have the others."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Final, cast

from serving_network.contracts.build.artifacts import ROOT
from serving_network.store.location import located
from serving_network.wallet.local import LocalSigner
from tests.gateway.programs import environment, run_words, write_home
from tests.gateway.stage import Stage
from tests.postgres import missing, postgres_server

CROWD: Final = "PostgreSQL, many users"
"""The name of the gateway on PostgreSQL while many users send requests, not one."""
TWO: Final = "PostgreSQL, two gateways"
"""Two gateways on one store, each with as many clients as one has."""
UNSTORED: Final = "no store"
"""The name of the gateway that signs its rows and does not store them."""
CORES: Final = sorted(os.sched_getaffinity(0))
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_SERVING: Final = ("-c", "from serving_network.cli.main import app; app()")
_UNSTORED: Final = ("-m", "benchmarks.gateway.unstored")
_SETTINGS: Final = ("--set", "requests_per_minute_of_user=0", "--set", "max_requests_of_user=512")
_NGINX: Final = """\
daemon off;
pid {home}/pid;
error_log {home}/log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port};
        keepalive_requests 1000000;
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


_LITELLM: Final = """\
model_list:
  - model_name: model-1
    litellm_params: {{ model: openai/model-1, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none }}
"""


@dataclass(frozen=True)
class Server:
    """A server that listens, or several of one kind. The model server itself has no `pids`.

    `database` is the first process of its PostgreSQL, 0 if it has none.
    """

    name: str
    ports: Sequence[int]
    pids: Sequence[int] = ()
    tokens: Sequence[str] = ("",)
    database: int = 0

    def cpu(self) -> float:
        """The seconds of processor time that it has used."""
        return sum(map(_cpu, self.pids))

    def database_cpu(self) -> float:
        """The seconds of processor time that the processes of its database have used."""
        return _cpu_of_family(self.database) if self.database else 0.0

    def memory(self) -> int:
        """Its resident memory in bytes."""
        pages = (int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in self.pids)
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def _cpu(process: int) -> float:
    return sum(map(int, _stat(process)[11:13])) / _TICKS


def _cpu_of_family(parent: int) -> float:
    """What a process and all its children have used, including children that have ended."""
    ticks = sum(map(int, _stat(parent)[13:15]))
    for one in Path("/proc").iterdir():
        if one.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                stat = _stat(int(one.name))
                if parent in (int(one.name), int(stat[1])):
                    ticks += sum(map(int, stat[11:13]))
    return ticks / _TICKS


def _stat(process: int) -> list[str]:
    """What the kernel says of a process, from its state on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


@asynccontextmanager
async def servers(
    stage: Stage, home: Path, uvicorn: Path, litellm: Path | None, crowd: Sequence[LocalSigner] = ()
) -> AsyncIterator[list[Server]]:
    """The model server, R, nginx if it is installed, LiteLLM if its program is given, the HTTP stack, and the gateway.

    The gateway is there without a store, and once on each store, if PostgreSQL is installed. The `crowd` are more users
    who have an account.
    """
    async with AsyncExitStack() as held:
        stub = await held.enter_async_context(_process(sys.executable, "-m", "benchmarks.gateway.stub"))
        upstream = int(await cast(asyncio.StreamReader, stub.stdout).readline())
        os.sched_setaffinity(stub.pid, CORES[1:] or CORES)
        found = [Server("direct", [upstream]), await held.enter_async_context(_reference(uvicorn, upstream))]
        if nginx := shutil.which("nginx"):
            found.append(await held.enter_async_context(_nginx(nginx, home, upstream)))
        if litellm is not None:
            found.append(await held.enter_async_context(_litellm(litellm, home, upstream)))
        found.append(await held.enter_async_context(_stack(upstream)))
        unstored = home / "unstored"
        unstored.mkdir()
        alone = replace(stage, store=unstored / "settlements")
        found.append(await held.enter_async_context(_gateway(alone, unstored, upstream, UNSTORED, _UNSTORED)))
        if missing() is None:
            several = home / "several"
            several.mkdir()
            database = held.enter_context(postgres_server(durable=True))
            url = database.store(several).url
            shared = replace(stage, store=located(url, several / "settlements"))
            gateway = await held.enter_async_context(_gateway(shared, several, upstream, "PostgreSQL"))
            found.append(replace(gateway, database=database.pid))
            other = home / "other"
            other.mkdir()
            beside = replace(shared, store=located(url, other / "settlements"))
            second = await held.enter_async_context(_gateway(beside, other, upstream, TWO))
            both = [*gateway.ports, *second.ports], [*gateway.pids, *second.pids]
            found.append(Server(TWO, *both, gateway.tokens, database.pid))
            if crowd:
                found.append(replace(gateway, name=CROWD, tokens=[stage.token(one) for one in crowd]))
        found.append(await held.enter_async_context(_gateway(stage, home, upstream, "gateway")))
        os.sched_setaffinity(0, CORES[1:] or CORES)
        yield found


@asynccontextmanager
async def _reference(uvicorn: Path, upstream: int) -> AsyncIterator[Server]:
    port = _free_port()
    words = [str(uvicorn), "benchmarks.gateway.reference:application", "--port", str(port), "--no-access-log"]
    words += ["--loop", "asyncio", "--http", "httptools", "--log-level", "warning"]
    async with _process(*words, UPSTREAM=f"http://127.0.0.1:{upstream}") as process:
        await _listens(port)
        yield _pinned(Server("R", [port], [process.pid]))


@asynccontextmanager
async def _stack(upstream: int) -> AsyncIterator[Server]:
    words = [sys.executable, "-m", "benchmarks.gateway.passing", f"http://127.0.0.1:{upstream}/v1"]
    async with _process(*words) as process:
        port = int(await cast(asyncio.StreamReader, process.stdout).readline())
        yield _pinned(Server("stack", [port], [process.pid]))


@asynccontextmanager
async def _nginx(nginx: str, home: Path, upstream: int) -> AsyncIterator[Server]:
    port = _free_port()
    (home / "nginx.conf").write_text(_NGINX.format(home=home, port=port, upstream=upstream))
    async with _process(nginx, "-c", str(home / "nginx.conf"), "-g", "master_process off;") as process:
        await _listens(port)
        yield _pinned(Server("nginx", [port], [process.pid]))


@asynccontextmanager
async def _litellm(program: Path, home: Path, upstream: int) -> AsyncIterator[Server]:
    port = _free_port()
    settings = home / "litellm.yaml"
    settings.write_text(_LITELLM.format(upstream=upstream))
    words = [str(program), "--config", str(settings), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    key = f"sk-{token_hex(32)}"
    variables = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    async with _process(*words, **variables) as process:
        await _listens(port)
        yield _pinned(Server("LiteLLM", [port], [process.pid], [f"Bearer {key}"]))


@asynccontextmanager
async def _gateway(
    stage: Stage, home: Path, upstream: int, name: str, program: Sequence[str] = _SERVING
) -> AsyncIterator[Server]:
    write_home(stage, home, f"http://127.0.0.1:{upstream}/v1")
    words = run_words(home, stage.store, *_SETTINGS)
    async with _process(sys.executable, *program, *words, **environment(home)) as process:
        output, printed = cast(asyncio.StreamReader, process.stdout), b""
        while not printed.endswith(b"}\n"):
            printed += await output.readline()
        port = int(json.loads(printed)["url"].rpartition(":")[2])
        yield _pinned(Server(name, [port], [process.pid], [stage.token()]))


@asynccontextmanager
async def _process(*words: str, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *words, env=os.environ | variables, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _pinned(server: Server) -> Server:
    for pid in server.pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), CORES[:1])
    return server


async def _listens(port: int) -> None:
    async with asyncio.timeout(180):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
