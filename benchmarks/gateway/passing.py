# SPDX-License-Identifier: Apache-2.0
"""The gateway's HTTP stack without its work: aiohttp's server and the gateway's connections pass bytes through.

    python -m benchmarks.gateway.passing URL

It prints its port.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web

from serving_network.gateway.memory import Memory
from serving_network.gateway.routes import Route
from serving_network.gateway.running import BACKLOG
from serving_network.gateway.upstream import Upstream
from serving_network.gateway.upstreams import UpstreamSettings


class PassingThrough:
    """Answers every request with what the model server answers to its body."""

    def __init__(self, url: str) -> None:
        self._upstream = Upstream(UpstreamSettings(url))

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        share = Memory().share()
        answer = await self._upstream.ask(Route.CHAT, body, share, stream=b'"stream": true' in body)
        try:
            headers = {"Content-Type": answer.content_type}
            if answer.body is not None:
                return web.Response(body=answer.body, headers=headers)
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            while packet := await answer.packet():
                await response.write(packet)
            await response.write_eof()
            return response
        finally:
            answer.close()


async def main() -> None:
    server = web.Server(PassingThrough(sys.argv[1]).answer, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
