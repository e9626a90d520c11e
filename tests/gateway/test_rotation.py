# SPDX-License-Identifier: Apache-2.0
"""The signer is replaced as docs/gateway.md says: what the old one could not settle, the new one does."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from serving_network.gateway.readiness import GatewayNotReady
from serving_network.wallet.local import LocalTeeSigner
from tests.gateway.stage import Stage

NEW = LocalTeeSigner(bytes(31) + b"\x08")


def test_the_documented_steps(stage: Stage) -> None:
    world = stage.world
    after = replace(stage, world=replace(world, tee_signer=NEW))

    async def scenario() -> None:
        token = stage.token()
        async with stage.gate() as gate:
            assert (await gate.chat(token))[0] == 200
            (old,) = await gate.receipts(token)
        await stage.act(lambda: world.provider.update(world.offer(tee_signer=NEW.address)))
        with pytest.raises(GatewayNotReady, match="service's signer"):
            async with stage.gate():
                pass
        async with after.gate() as gate:
            assert not gate.running.confirmed
            status, refused, _ = await gate.chat(token)
            assert (status, refused["error"]["code"]) == (503, "signer_not_confirmed")
            await stage.act(lambda: world.owner.confirm(world.provider.address))
            await stage.act(lambda: world.user.acknowledge(world.provider.address))
            assert (await gate.chat(token))[0] == 200
            content = (await gate.get("/v1/receipts", token))[1]["receipts"]
            assert content[0] == old.as_json()
            report = await after.settle()
            assert (report.paid, report.unsettled) == (2 * old.receipt.fee, 0)

    asyncio.run(scenario())
