# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from serving_network.money import WEI_PER_COIN as COIN
from tests.gateway.stage import Gate, Stage, completion
from tests.postgres import PostgresServer

CLIENTS = 200
PRICE = 256 * (COIN // 512)  # half a coin for an answer
FIRST, DEPOSITED = 10, 2  # answers that the account covers, and that the deposit adds
ANSWERED_AT_ONCE = 5


def test_money_for_ten_while_a_settlement_a_deposit_and_a_refund_request_land(stage: Stage) -> None:
    """200 clients of one user try again and again: never more is served than the account covers at that time."""
    check_money_for_ten([stage])


def test_money_for_ten_on_two_gateways(stage: Stage, postgres: PostgresServer, tmp_path: Path) -> None:
    """The same, with clients that choose one of two gateways."""
    store = postgres.store(tmp_path / "first")
    check_money_for_ten([replace(stage, store=replace(store, files=tmp_path / name)) for name in ("first", "second")])


def check_money_for_ten(stages: list[Stage]) -> None:
    stage = stages[0]
    world = stage.world
    world.provider.update(world.offer(input_price=0, output_price=COIN // 512))
    release = asyncio.Event()
    begun = covered = 0

    async def handle(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        nonlocal begun
        begun += 1
        assert begun <= covered
        if begun > ANSWERED_AT_ONCE:
            await release.wait()
        return web.json_response(completion({"prompt_tokens": 12, "completion_tokens": 256}))

    async def scenario() -> None:
        nonlocal covered
        covered = FIRST
        token = stage.token()
        statuses: list[int] = []
        over = asyncio.Event()
        gates: list[Gate] = []

        async def ask() -> None:
            while not over.is_set():
                status = (await random.choice(gates).chat(token))[0]
                statuses.append(status)
                if status == 200:
                    return
                await asyncio.sleep(random.uniform(0.5, 1.5))

        async def until(condition: Any) -> None:
            async with asyncio.timeout(240):
                while not condition():
                    await asyncio.sleep(0.01)

        async with AsyncExitStack() as held:
            limits = {"max_requests_of_user": CLIENTS, "requests_per_minute_of_user": 0}
            gates += [await held.enter_async_context(one.gate(handle, **limits)) for one in stages]
            clients = [asyncio.create_task(ask()) for _ in range(CLIENTS)]
            await until(lambda: begun == FIRST and statuses.count(200) == ANSWERED_AT_ONCE)
            report = await stage.settle()
            assert report.paid == ANSWERED_AT_ONCE * PRICE
            await until(lambda: len(statuses) >= CLIENTS)
            covered += DEPOSITED
            await stage.act(lambda: world.user.fund(world.provider.address, DEPOSITED * PRICE))
            await until(lambda: begun == covered)
            await stage.act(lambda: world.user.retrieve([world.provider.address]))
            asked = len(statuses)
            await until(lambda: len(statuses) >= asked + CLIENTS // 2)
            release.set()
            over.set()
            await asyncio.gather(*clients)
            assert statuses.count(200) == begun == FIRST + DEPOSITED
            assert set(statuses) == {200, 402}
            receipts = await gates[-1].receipts(token)
            assert sum(one.receipt.fee for one in receipts) == (FIRST + DEPOSITED) * PRICE
            for gate in gates:
                await gate.idle()
            report = await stage.settle()
            assert (report.paid, report.unsettled) == ((FIRST + DEPOSITED - ANSWERED_AT_ONCE) * PRICE, 0)

    asyncio.run(scenario())
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert account.balance == 0
