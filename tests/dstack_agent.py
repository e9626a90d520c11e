# SPDX-License-Identifier: Apache-2.0
"""A stand-in for dstack's guest agent, with the three operations of its documented API that the package uses.

Its keys depend on the path, as those of dstack do, and its quotes have the right form and report data, but no processor
signed them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web

from serving_network.wallet.local import LocalTeeSigner
from tests.tee_reports import quote, report


@dataclass
class Agent:
    """What the agent answers: `answers` replaces text and status by method, `asked` has what it was sent."""

    socket: str
    answers: dict[str, tuple[str, int]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @staticmethod
    def key(path: str) -> bytes:
        return sha256(f"secret of the app, {path}".encode()).digest()

    def address(self, path: str = "serving-network/tee-signer") -> str:
        return LocalTeeSigner(self.key(path)).address

    async def answer(self, request: web.Request) -> web.Response:
        method, content = request.match_info["method"], await request.json()
        self.asked.append((method, content))
        if method in self.answers:
            text, status = self.answers[method]
            return web.Response(text=text, status=status)
        match method:
            case "GetKey":
                return web.json_response({"key": self.key(content["path"]).hex(), "signature_chain": ["00", "00"]})
            case "GetQuote":
                report_data = bytes.fromhex(content["report_data"])
                made = {"quote": quote(report_data.ljust(64, b"\0")).hex(), "report_data": report_data.hex()}
                return web.json_response(made | {name: report()[name] for name in ("event_log", "vm_config")})
            case "Info":
                return web.json_response({"app_id": "00" * 20, "tcb_info": report()["tcb_info"]})
        return web.json_response({"error": "Service not found"}, status=404)


@asynccontextmanager
async def dstack_agent(socket: Path) -> AsyncIterator[Agent]:
    """An agent that listens on a socket."""
    agent = Agent(str(socket))
    application = web.Application()
    application.router.add_post("/{method}", agent.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, agent.socket).start()
        yield agent
    finally:
        await runner.cleanup()


async def main(socket: str) -> None:
    """Listen until the process ends."""
    async with dstack_agent(Path(socket)):
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
