# SPDX-License-Identifier: Apache-2.0
"""Faulty model servers and impatient clients at once: every coin is reserved, billed and paid exactly once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serving_network.gateway.upstreams import UpstreamSettings
from tests.gateway.stage import CHAT, Stage, events, model_server, plain

REQUESTS = 60


def moody(choice: random.Random) -> Any:
    """A model server that answers, fails, stalls a little, or breaks off, as chance has it."""

    async def handle(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        mood = choice.random()
        await asyncio.sleep(choice.random() * 0.02)
        if mood < 0.2:
            return web.Response(status=choice.choice([400, 404, 429, 500, 503]))
        assert request.transport is not None
        if mood < 0.3:
            request.transport.abort()
        if not body.get("stream"):
            return await plain(request, body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in events(10):
            await response.write(part)
            if choice.random() < 0.02:
                request.transport.abort()
            await asyncio.sleep(0.002)
        return response

    return handle


@pytest.mark.parametrize("seed", range(3))
def test_every_coin_is_billed_and_paid_once(stage: Stage, seed: int) -> None:
    choice = random.Random(seed)

    async def scenario() -> None:
        token = stage.token()
        async with model_server() as one, model_server() as two, model_server() as three:
            servers = tuple(UpstreamSettings(each.url, max_concurrency=8) for each in (one, two, three))
            async with stage.gate(upstreams=servers, upstream=None) as gate:
                for each in (one, two, three):
                    each.handle = moody(choice)
                whole = 0

                async def ask(patience: float) -> None:
                    nonlocal whole
                    await asyncio.sleep(choice.random() * 0.3)
                    body = CHAT | {"stream": choice.random() < 0.6}
                    try:
                        async with asyncio.timeout(patience):
                            status, _, _ = await gate.post("/v1/chat/completions", token, body)
                        whole += status == 200
                    except (TimeoutError, aiohttp.ClientError):
                        pass

                await asyncio.gather(*(ask(choice.choice([0.03, 0.06, 10.0])) for _ in range(REQUESTS)))
                await gate.idle()
                receipts = await gate.receipts(token)
                assert whole <= len(receipts) <= REQUESTS
                billed = sum(receipt.receipt.fee for receipt in receipts)
                assert billed > 0
                path = f"/v1/user/{stage.world.user.address}/unsettledfee"
                assert (await gate.get(path, token))[1]["unsettledFee"] == str(billed)
                assert (await stage.settle()).paid == billed
                assert (await gate.get(path, token))[1]["unsettledFee"] == "0"

    asyncio.run(scenario())
