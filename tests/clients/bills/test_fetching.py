# SPDX-License-Identifier: Apache-2.0
"""Receipts from a hostile server: everything that is not the next receipt of this bill is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serving_network.clients.bills import fetching
from serving_network.clients.bills.fetching import ProviderFailure, fetch_receipts
from serving_network.messages.receipts import SignedReceipt
from tests.clients.bills.making import IDENTITY, changed, receipts

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def fetched(answer: Answer, after: int = 0) -> list[SignedReceipt]:
    async def run() -> list[SignedReceipt]:
        application = web.Application()
        application.router.add_get("/v1/receipts", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession(auto_decompress=False) as http:
                return [one async for page in fetch_receipts(http, url, "Bearer x", IDENTITY, after) for one in page]
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def serving(made: list[SignedReceipt], size: int = 2) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        after = int(request.query["after"])
        assert request.query["limit"] == str(fetching.PAGE)
        assert request.headers["Authorization"] == "Bearer x"
        return web.json_response({"receipts": [one.as_json() for one in made[after:][:size]]})

    return answer


def sending(content: Any, **options: Any) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content, **options)

    return answer


def test_pages_are_followed_to_the_end() -> None:
    made = receipts((1, 1), (2, 2), (3, 3), (4, 4), (5, 5))
    assert fetched(serving(made)) == made
    assert fetched(serving(made), after=3) == made[3:]
    assert fetched(serving([])) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sending(b"no"), "did not answer with JSON"),
        (sending(b"[" * 1_000_000), "did not answer with JSON"),
        (sending(b"[]"), "page of receipts"),
        (sending(b'{"receipts": {}}'), "page of receipts"),
        (sending(b'{"receipts": [1]}'), "malformed"),
        (sending(b'{"receipts": [' + b"1," * 600 + b"1]}"), "page of receipts"),
        (sending(b" " * (fetching.MAX_BYTES + 1)), "more than"),
        (sending(b'{"error": {"message": "\x1b[31mno"}}', status=401), "status 401"),
        (sending(b"", status=302, headers={"Location": "http://127.0.0.1:1/"}), "status 302"),
        (serving(receipts((1, 1), (2, 2))[1:]), "where 1 belongs"),
        (serving([changed(receipts((1, 1))[0], user=IDENTITY.provider)]), "not part of this bill"),
        (serving([replace(receipts((1, 1))[0], chain_id=1)]), "not part of this bill"),
        (serving([receipts((1, 1))[0]] * 2), "where 2 belongs"),
    ],
)
def test_everything_else_is_refused(answer: Answer, reason: str) -> None:
    with pytest.raises(ProviderFailure, match=reason) as failure:
        fetched(answer)
    assert "\x1b" not in f"{failure.value}{failure.value.cause}"
    assert failure.value.next_step


def test_a_provider_cannot_send_receipts_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_PAGES", 2)
    with pytest.raises(ProviderFailure, match="more than"):
        fetched(serving(receipts(*[(1, 1)] * 5)))
