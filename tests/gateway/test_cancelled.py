# SPDX-License-Identifier: Apache-2.0
"""A request that is cancelled at each of its awaits, once and twice, leaves nothing reserved, held or begun."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from serving_network.gateway.selling import Seller
from serving_network.messages.receipts import SignedReceipt
from tests.gateway.stage import CHAT, Gate, Handler, Stage, completion, events, plain, streaming

MOST_AWAITS = 200


class Cancelled:
    """Awaits a coroutine, and cancels the task at the awaits with these numbers. `awaits` counts all."""

    def __init__(self, work: Coroutine[Any, Any, Any], at: set[int]) -> None:
        self._work = work
        self._at = at
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        given: Any = None
        failure: BaseException | None = None
        while True:
            try:
                waiting = steps.send(given) if failure is None else steps.throw(failure)
            except StopIteration as end:
                return end.value
            task = asyncio.current_task()
            if self.awaits in self._at and task is not None:
                task.cancel()
            self.awaits += 1
            given, failure = None, None
            try:
                given = yield waiting
            except BaseException as error:  # noqa: BLE001 - thrown into the coroutine
                failure = error


async def refuse(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"error": {"message": "no"}}, status=400)


async def unmetered(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion(usage=None))


async def broken(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(events()[0])
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize(
    ("handle", "stream"),
    [
        (plain, False),
        (plain, True),
        (streaming(events(3), pause=0.002), True),
        (refuse, False),
        (refuse, True),
        (unmetered, True),
        (broken, True),
    ],
    ids=["whole", "not streamed", "stream", "refused", "refused stream", "unmetered", "broken"],
)
def test_a_request_cancelled_at_any_await_leaves_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, handle: Handler, stream: bool, twice: bool
) -> None:
    sell = Seller.sell
    at: set[int] = set()
    made: list[Cancelled] = []

    async def cancelled(self: Seller, *given: Any) -> Any:
        made.append(Cancelled(sell(self, *given), at))
        return await made[-1]

    monkeypatch.setattr(Seller, "sell", cancelled)

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(handle, requests_per_minute_of_user=0) as gate:
            receipts: list[SignedReceipt] = []
            for number in range(MOST_AWAITS):
                at.clear()
                at.update({number, number + 1} if twice else {number})
                await _ask(gate, token, stream)
                await gate.idle()
                before, receipts = len(receipts), await gate.receipts(token)
                assert len(receipts) - before <= 1
                assert all(one.receipt.input_tokens in (0, 12) for one in receipts)
                if made[-1].awaits <= number:
                    break
            else:
                raise AssertionError("the request never ended")

    asyncio.run(scenario())


async def _ask(gate: Gate, token: str, stream: bool) -> None:
    body = CHAT | {"stream": stream}
    with suppress(aiohttp.ClientError, TimeoutError):
        async with (
            asyncio.timeout(5),
            gate.http.post(
                gate.url("/v1/chat/completions"), json=body, headers={"Authorization": token, "Connection": "close"}
            ) as answer,
        ):
            await answer.read()
