# SPDX-License-Identifier: Apache-2.0
"""The program `serving gateway run` is killed under load, again and again.

Whatever was delivered in full has its row, no row is there twice, the receipts verify, and the chain pays their sum.
"""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from serving_network.messages.receipts import Ending, Source, receipt_id
from tests.gateway.programs import program, stop, write_home
from tests.gateway.stage import CHAT, Gate, Stage, digest, events, model_server, plain, streaming

KILLS = 5
CLIENTS = 6
TOKENS = 20


async def use(url: str, token: str, delivered: set[str]) -> None:
    """Send requests, streamed and not, until the gateway is gone; note the keys of whole answers."""
    async with aiohttp.ClientSession() as http:
        while True:
            stream = random.random() < 0.7
            try:
                async with http.post(
                    f"{url}/v1/chat/completions", json=CHAT | {"stream": stream}, headers={"Authorization": token}
                ) as answer:
                    content = await answer.read()
                    assert answer.status == 200, content
                    if not stream or content.endswith(b"data: [DONE]\n\n"):
                        delivered.add(answer.headers["ZG-Res-Key"])
            except aiohttp.ClientError:
                return


def test_nothing_is_lost_or_billed_twice(stage: Stage, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    stream = streaming(events(TOKENS), pause=0.01)
    chance = random.Random(7)

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await (stream if body.get("stream") else plain)(request, body)

    async def scenario() -> None:
        token = stage.token()
        delivered: set[str] = set()
        recovered = 0
        async with model_server(answer) as model:
            write_home(stage, home, model.url)
            for life in range(1, KILLS + 1):
                async with program(stage, home) as (process, printed):
                    recovered += printed["recovered"]
                    clients = [asyncio.create_task(use(printed["url"], token, delivered)) for _ in range(CLIENTS)]
                    await asyncio.sleep(chance.uniform(1.0, 2.0))
                    async with asyncio.timeout(120):
                        while len(delivered) <= life * CLIENTS:  # a busy machine answers slowly
                            await asyncio.sleep(0.05)
                    await stop(process, signal.SIGKILL)
                    await asyncio.gather(*clients)
            async with program(stage, home) as (process, printed), aiohttp.ClientSession() as http:
                recovered += printed["recovered"]
                running: Any = type("Running", (), {"url": printed["url"]})
                receipts = await Gate(stage, running, model, http).receipts(token)
                await stop(process, signal.SIGTERM)
                assert process.returncode == 0
        rows = {one.receipt.id: one.receipt for one in receipts}
        assert len(rows) == len(receipts)
        for key in delivered:
            assert rows[receipt_id(key)].ending is Ending.COMPLETE
        cut = [one for one in rows.values() if one.ending is Ending.CRASH]
        assert len(cut) == recovered > 0
        assert {one.source for one in cut} == {Source.CHECKPOINT}
        total = sum(one.fee for one in rows.values())
        report = await stage.settle()
        assert (report.paid, report.unsettled) == (total, 0)

    asyncio.run(scenario())


def test_a_stream_that_a_crash_cuts_is_billed_by_its_last_checkpoint(stage: Stage, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await (streaming(events(2000), pause=0.01) if body.get("stream") else plain)(request, body)

    async def scenario() -> None:
        token = stage.token()
        async with model_server(answer) as model, aiohttp.ClientSession() as http:
            write_home(stage, home, model.url)
            async with (
                program(stage, home) as (process, printed),
                http.post(
                    f"{printed['url']}/v1/chat/completions",
                    json=CHAT | {"stream": True, "max_tokens": 4000},
                    headers={"Authorization": token},
                ) as cut,
            ):
                got = b""
                while got.count(b"word") < 200:
                    got += await cut.content.readany()
                await stop(process, signal.SIGKILL)
                try:
                    while packet := await cut.content.readany():
                        got += packet
                except aiohttp.ClientError:
                    pass
            async with program(stage, home) as (process, printed):
                assert printed["recovered"] == 1
                running: Any = type("Running", (), {"url": printed["url"]})
                (one,) = await Gate(stage, running, model, http).receipts(token)
                await stop(process, signal.SIGTERM)
        assert (one.receipt.ending, one.receipt.source) == (Ending.CRASH, Source.CHECKPOINT)
        assert one.disclosure is not None
        assert 0 < one.receipt.output_tokens <= got.count(b"word")
        assert one.disclosure.answer_hash == digest(got[: one.disclosure.length])
        assert one.receipt.fee == one.receipt.output_tokens * 200

    asyncio.run(scenario())
