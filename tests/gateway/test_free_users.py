# SPDX-License-Identifier: Apache-2.0
"""Users who are served without payment: metered and logged, at no price, and never settled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serving_network.clients.bills.evidence import read_evidence
from serving_network.clients.bills.verdict import verify_bill
from serving_network.clients.read.network import AsyncNetwork
from serving_network.errors import ConfigurationError
from serving_network.gateway.settings import read_settings
from serving_network.messages.receipts import Ending, Source
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.store.bills import BillIdentity
from serving_network.testing import LocalNetwork
from tests.gateway.stage import CHAT, STRANGER, USER, Stage, events, plain, streaming

FREE = [LocalNetwork.signer(USER).address.lower(), LocalNetwork.signer(STRANGER).address]


def test_free_users_pay_nothing_and_reserve_nothing(stage: Stage) -> None:
    """With an account whose money covers no request, and without one."""
    world = stage.world
    world.provider.update(world.offer(input_price=COIN, output_price=COIN))

    async def scenario() -> None:
        async with stage.gate() as gate:
            assert [(await gate.chat(stage.token(one)))[0] for one in (USER, STRANGER)] == [402, 402]
        async with stage.gate(free=FREE) as gate:
            for user in (USER, STRANGER):
                token = stage.token(user)
                gate.model.handle = plain
                assert (await gate.chat(token))[0] == 200
                gate.model.handle = streaming(events(5))
                assert (await gate.post("/v1/chat/completions", token, CHAT | {"stream": True}))[0] == 200
                for signed in await gate.receipts(token):
                    one = signed.receipt
                    assert (one.input_tokens, one.output_tokens, one.source) == (12, 5, Source.USAGE)
                    assert (one.input_price, one.output_price, one.fee) == (0, 0, 0)
                    assert one.ending is Ending.COMPLETE
                path = f"/v1/user/{LocalNetwork.signer(user).address}/unsettledfee"
                assert (await gate.get(path, token))[1]["unsettledFee"] == "0"
        report = await stage.settle()
        assert (report.paid, report.settlements) == (0, 0)

    asyncio.run(scenario())


def test_their_bill_is_proven(stage: Stage) -> None:
    """Also beside requests that were paid, before and after."""

    async def scenario() -> None:
        token = stage.token()
        for free in ([], FREE, []):
            async with stage.gate(free=free) as gate:
                assert (await gate.chat(token))[0] == 200
                receipts = await gate.receipts(token)
        report = await stage.settle()
        assert report.paid == 2 * receipts[0].receipt.fee > 0
        async with await AsyncNetwork.open(stage.url) as network:
            contract = (await network.service("inference")).address
            user, provider = stage.world.user.address, stage.world.provider.address
            found = await read_evidence(network, BillIdentity(31337, contract, provider, user))
        verdict = verify_bill(receipts, found)
        assert (verdict.proven, verdict.free, verdict.to_settle) == (True, 1, 0)

    asyncio.run(scenario())


def test_what_still_holds_for_free_users(stage: Stage) -> None:
    """Blocking, revocation and the limits."""
    world = stage.world

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate(free=FREE, blocked=FREE[:1]) as gate:
            assert (await gate.chat(token))[0] == 403
        async with stage.gate(free=FREE, requests_per_minute_of_user=1) as gate:
            assert [(await gate.chat(token))[0] for _ in range(2)] == [200, 429]
        await stage.act(lambda: world.user.revoke_all_tokens(world.provider.address))
        async with stage.gate(free=FREE) as gate:
            assert (await gate.chat(token))[0] == 401

    asyncio.run(scenario())


@pytest.mark.parametrize(("value", "users"), [('["0x1"]', None), (f'["{FREE[1]}"]', {FREE[1].lower()})])
def test_the_setting(tmp_path: Path, value: str, users: set[str] | None) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f'provider = "0x{"1" * 40}"\nupstream = "http://a/v1"\nfree = {value}\n')
    if users is None:
        with pytest.raises(ConfigurationError) as wrong:
            read_settings(path, {}, {})
        assert "free cannot be" in str(wrong.value.cause)
    else:
        assert read_settings(path, {}, {}).limits().free == users
