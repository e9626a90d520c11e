# SPDX-License-Identifier: Apache-2.0
"""The published Python client, 0g-inference-sdk 0.9.1 as it is on PyPI, against a gateway."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import pytest

from serving_network.localchain.accounts import development_keys
from serving_network.money import WEI_PER_COIN as COIN
from tests.gateway.stage import CHAT, USER, Stage, completion

zerog = pytest.importorskip("zerog_py_sdk", reason="make sure that the development dependencies are installed")


def test_it_pays_for_a_chat(stage: Stage) -> None:
    world = stage.world

    async def scenario() -> None:
        async with stage.gate() as gate:
            url = gate.running.url
            await stage.act(lambda: world.provider.update(world.offer(url=url)))
            await asyncio.to_thread(use, url)
            receipts = await gate.receipts(stage.token())
            assert [one.receipt.fee for one in receipts] == [2200, 2200]
            # One of them came with a session, the other with a named key.
            assert sorted(one.receipt.token_id for one in receipts) == [3, 255]

    def use(url: str) -> None:
        broker = zerog.create_broker(private_key=development_keys()[USER].to_hex(), rpc_url=stage.url)
        inference, provider = broker.inference, world.provider.address
        metadata = inference.get_service_metadata(provider)
        assert metadata == {"endpoint": f"{url}/v1/proxy", "model": "model-1"}
        headers = inference.get_request_headers(provider, "Hi")
        answer, key = post(metadata["endpoint"] + "/chat/completions", headers)
        assert answer == completion()
        assert inference.process_response(provider, json.dumps(answer["usage"]), key) is True
        assert inference._fetch_unsettled_fee(provider) == 2200
        secret = inference.create_api_key(provider, token_id=3).raw_token
        post(metadata["endpoint"] + "/chat/completions", {"Authorization": f"Bearer {secret}"})
        assert inference._fetch_unsettled_fee(provider) == 4400
        account = inference.get_account(provider)
        assert account.balance == 5 * COIN

    asyncio.run(scenario())


def post(url: str, headers: dict[str, str]) -> tuple[Any, str]:
    request = urllib.request.Request(url, json.dumps(CHAT).encode(), headers | {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer), answer.headers["ZG-Res-Key"]
