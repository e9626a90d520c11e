# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import shlex
import sqlite3
from contextlib import closing

import pytest

from serving_network.chains import LOCAL_CHAIN
from serving_network.gateway.readiness import GatewayNotReady, check_clock, check_gas, check_lock_time, check_offer
from serving_network.gateway.settings import Settings
from tests.gateway.stage import Stage

SETTINGS = Settings("0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "http://127.0.0.1:1/v1")


def test_a_clock_that_is_behind() -> None:
    now = 1_700_000_000.0
    assert check_clock(int(now) + 10, now) == []
    assert check_clock(int(now) - 600, now) == []
    assert "11 seconds behind" in check_clock(int(now) + 11, now)[0]
    assert check_clock(int(now) + 120, now)
    assert "not in sync" in check_clock(int(now) - 601, now)[0]
    with pytest.raises(GatewayNotReady, match="121 seconds behind"):
        check_clock(int(now) + 121, now)


def test_a_refund_must_not_unlock_before_it_is_settled() -> None:
    needed = SETTINGS.request_seconds + SETTINGS.settle_seconds
    check_lock_time(2 * needed, SETTINGS)
    with pytest.raises(GatewayNotReady) as failure:
        check_lock_time(2 * needed - 1, SETTINGS)
    assert "settle_seconds" in str(failure.value.next_step)


def test_a_wallet_without_gas() -> None:
    check_gas(500_000 * 7, 7, SETTINGS.provider, LOCAL_CHAIN)
    with pytest.raises(GatewayNotReady) as failure:
        check_gas(500_000 * 7 - 1, 7, SETTINGS.provider, LOCAL_CHAIN)
    assert failure.value.next_step == f"serving local fund {SETTINGS.provider}"


def test_a_service_that_is_registered_otherwise(stage: Stage) -> None:
    offer = stage.world.offer()
    check_offer(offer, {"input_price": "100 wei", "model": "model-1"}, confirmed=True)
    with pytest.raises(GatewayNotReady) as failure:
        check_offer(offer, {"input_price": "1 gwei", "model": "a b"}, confirmed=True)
    words = shlex.split(str(failure.value.next_step).partition(": ")[2])
    assert words == ["serving", "service", "update", "--set", "input_price=1000000000 wei", "--set", "model=a b"]
    assert "confirm the signer again after a change of model" in str(failure.value.cause)


def test_a_store_that_is_behind_the_chain(stage: Stage) -> None:
    async def scenario() -> None:
        async with stage.gate() as gate:
            assert (await gate.chat(stage.token()))[0] == 200
            copy = stage.file.with_name("copy.journal")
            with closing(sqlite3.connect(stage.file)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
            await stage.settle()
        async with stage.gate():
            pass
        copy.replace(stage.file)
        for name in ("-wal", "-shm"):
            stage.file.with_name(stage.file.name + name).unlink(missing_ok=True)
        with pytest.raises(GatewayNotReady, match="lacks settlements of 1 user") as failure:
            async with stage.gate():
                pass
        assert "serving settlement adopt" in str(failure.value.next_step)

    asyncio.run(scenario())
