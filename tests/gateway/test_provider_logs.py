# SPDX-License-Identifier: Apache-2.0
"""The provider reads its logs with a session of its own; nobody else does, and no other file can be read."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

from serving_network.gateway.logs import logging_to
from tests.gateway.stage import PROVIDER, Stage


def headers_of(token: str) -> dict[str, str]:
    """A token as the provider's command line sends it."""
    text = base64.b64decode(token.removeprefix("Bearer app-sk-")).decode()
    message, _, signature = text.partition("|")
    return {"Address": "0x", "Session-Token": message, "Session-Signature": signature}


def test_only_the_provider_reads_its_logs(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "logs" / "gateway.log"
    own = headers_of(stage.token(PROVIDER))

    async def scenario() -> None:
        async with stage.gate(log_file=str(file)) as gate:
            await gate.chat(stage.token())
            (file.parent / "gateway.log.1").write_text("old")
            (file.parent / "gateway-settler.log").write_text("settled")
            (file.parent / "key.json").write_text("secret")
            async with gate.http.get(gate.url("/v1/logs?component=both"), headers=own) as answer:
                listed = (await answer.json())["logs"]
            assert [(one["component"], one["name"], one["isCurrentLog"]) for one in listed] == [
                ("broker", "gateway.log", True),
                ("broker", "gateway.log.1", False),
                ("event", "gateway-settler.log", True),
            ]
            assert listed[1]["size"] == 3
            async with gate.http.get(gate.url("/v1/logs/event/gateway-settler.log"), headers=own) as answer:
                assert (answer.status, await answer.text()) == (200, "settled")
            for path in ("key.json", "..%2Flogs%2Fkey.json", "gateway.log.1%00", str(tmp_path)):
                async with gate.http.get(gate.url("/v1/logs/broker/") + path, headers=own) as answer:
                    assert answer.status == 404
            changed = own | {"Session-Token": own["Session-Token"].replace('"generation":0', '"generation":1')}
            others = (stage.token(), stage.token(PROVIDER, 7), stage.token(PROVIDER, timestamp=0, expires_at=1))
            for headers in ({}, changed, *map(headers_of, others)):
                async with gate.http.get(gate.url("/v1/logs"), headers=headers) as answer:
                    assert answer.status == 401
            async with gate.http.get(gate.url("/v1/logs?component=x"), headers=own) as answer:
                assert answer.status == 400

    with logging_to(file):
        asyncio.run(scenario())
