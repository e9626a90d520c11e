# SPDX-License-Identifier: Apache-2.0
"""The configurations of nginx and Caddy in docs/gateway.md, in front of a gateway: `make test-proxies`.

Each proxy is tested if it is installed. Only what a machine decides is replaced: ports and the certificate.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from serving_network.gateway.application import SIGNATURES_PER_MINUTE
from serving_network.gateway.requests import MAX_BODY
from tests.gateway.stage import CHAT, Gate, Stage, events

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
NAME = "gateway.example"
PROXIES = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
    for name in ("nginx", "caddy")
]
OTHER_ADDRESS = "127.0.0.2"
WORDS = 3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def snippet(begin: str) -> str:
    """The indented block of the page that begins with this line."""
    found = re.search(rf"^    {re.escape(begin)}\n(?:    .*\n|\n(?=    ))*", PAGE.read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return re.sub(r"^    ", "", found[0], flags=re.MULTILINE)


def replaced(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def command(proxy: str, folder: Path, port: int, gateway: str) -> list[str]:
    """Write the configuration of a proxy on this port, and return the command that runs it."""
    upstream = gateway.removeprefix("http://")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    if proxy == "nginx":
        server = replaced(
            snippet("server {"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
            (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(certificate)),
            (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(key)),
            ("127.0.0.1:3080", upstream),
        )
        paths = "".join(
            f"{one}_temp_path {folder / one};\n" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off;\nmaster_process off;\npid {folder / 'nginx.pid'};\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\ngzip on;\ngzip_types *;\n{paths}{server}}}\n"
        )
        return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    site = replaced(
        snippet(f"{NAME} {{"),
        (f"{NAME} {{", f"https://{NAME}:{port} {{\n    tls {certificate} {key}\n    bind 127.0.0.1\n    encode gzip\n"),
        ("127.0.0.1:3080", upstream),
    )
    (folder / "Caddyfile").write_text(f"{{\nadmin off\nauto_https off\nstorage file_system {folder}\n}}\n{site}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


class _Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def behind(proxy: str, gate: Gate, folder: Path) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """The URL of a proxy in front of a gateway, and the certificate that it shows."""
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    files = ["-out", str(folder / "cert.pem"), "-keyout", str(folder / "key.pem")]
    subprocess.run([*make, *names, *files], check=True, capture_output=True)
    port = free_port()
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(*command(proxy, folder, port, gate.running.url), env=environment)
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, f"{proxy} ended"
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield f"https://{NAME}:{port}", ssl.create_default_context(cafile=str(folder / "cert.pem"))
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


def client(context: ssl.SSLContext, address: str = "127.0.0.1") -> aiohttp.ClientSession:
    """A client with an address of this machine, which takes compressed answers as they are."""
    connector = aiohttp.TCPConnector(ssl=context, resolver=_Here(), local_addr=(address, 0), limit=0)
    headers = {"Accept-Encoding": "gzip, br"}
    return aiohttp.ClientSession(connector=connector, auto_decompress=False, headers=headers)


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_documented_proxy(stage: Stage, tmp_path: Path, proxy: str) -> None:
    seen: asyncio.Queue[None] = asyncio.Queue()

    async def waiting(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        """A stream whose next event is sent when the client has the one before."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, one in enumerate(events(WORDS)):
            await response.write(one)
            if number < WORDS:
                async with asyncio.timeout(60):
                    await seen.get()
        return response

    async def scenario() -> None:
        token = {"Authorization": stage.token()}
        async with (
            stage.gate(context=8192) as gate,
            behind(proxy, gate, tmp_path) as (url, context),
            client(context) as http,
        ):
            await check_stream(gate, http, url, token)
            await check_large_bodies(gate, http, url, token)
            await check_addresses(http, url)
            async with client(context, OTHER_ADDRESS) as other:
                assert await signature_status(other, url) == 404
            assert len(await gate.receipts(token["Authorization"])) == 2

    async def check_stream(gate: Gate, http: aiohttp.ClientSession, url: str, token: dict[str, str]) -> None:
        plain, gate.model.handle = gate.model.handle, waiting
        body, answer = json.dumps(CHAT | {"stream": True, "stream_options": {"include_usage": True}}).encode(), b""
        async with http.post(f"{url}/v1/proxy/chat/completions", data=body, headers=token | JSON) as response:
            assert (response.status, "Content-Encoding" in response.headers) == (200, False)
            for one in events(WORDS)[:WORDS]:
                while not answer.endswith(one):
                    answer += (part := await response.content.readany())
                    assert part, answer
                seen.put_nowait(None)
            answer += await response.content.read()
        assert answer == b"".join(events(WORDS))
        await gate.check_signature(response.headers["ZG-Res-Key"], body, answer)
        gate.model.handle = plain

    async def check_large_bodies(gate: Gate, http: aiohttp.ClientSession, url: str, token: dict[str, str]) -> None:
        empty = json.dumps(CHAT | {"messages": [{"role": "user", "content": ""}]})
        body = empty.replace('"content": ""', f'"content": "{"a" * (MAX_BODY - len(empty))}"').encode()
        assert len(body) == MAX_BODY
        async with http.post(f"{url}/v1/chat/completions", data=BytesIO(body), headers=token | JSON) as response:
            answer = await response.read()
            assert (response.status, "Content-Encoding" in response.headers) == (200, False), answer
        await gate.check_signature(response.headers["ZG-Res-Key"], body, answer)
        more, route = BytesIO(body + b" "), f"{url}/v1/chat/completions"
        # Caddy has no limit of its own: the gateway's answer may arrive while the client still sends.
        with suppress(aiohttp.ClientOSError):
            async with http.post(route, data=more, headers=token | JSON, expect100=True) as response:
                assert response.status == 413

    async def check_addresses(http: aiohttp.ClientSession, url: str) -> None:
        """A client cannot pass for many by addresses that it makes up."""
        for number in range(4 * SIGNATURES_PER_MINUTE):
            if await signature_status(http, url, f"10.0.{number // 250}.{number % 250}") == 429:
                return
        pytest.fail("Every address that the client makes up counts by itself.")

    asyncio.run(scenario())


JSON = {"Content-Type": "application/json"}


async def signature_status(http: aiohttp.ClientSession, url: str, forged: str = "10.0.0.1") -> int:
    headers = {"X-Forwarded-For": forged}
    async with http.get(f"{url}/v1/proxy/signature/{uuid.uuid4()}", headers=headers) as response:
        return response.status
