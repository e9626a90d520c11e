# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from serving_network.gateway import logs
from serving_network.gateway.logs import MAX_LINE, JsonLines, logging_to
from tests.gateway.stage import Stage

LOG = logging.getLogger("serving_network.gateway")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_requests_are_logged_without_tokens_or_bodies(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "gateway.log"

    async def scenario() -> tuple[str, str]:
        token = stage.token()
        async with stage.gate() as gate:
            _, _, key = await gate.chat(token, user="confidential")
            await gate.get('/v1/models"\n{"event":"forged"}')
            await gate.chat("Bearer app-sk-secret")
        return token, key

    with logging_to(path):
        token, key = asyncio.run(scenario())
    served, forged, refused = [one for one in lines(path) if one["event"] == "request"]
    assert (served["status"], served["key"], served["user"]) == (200, key, stage.world.user.address)
    assert (forged["status"], forged["route"]) == (404, "other")
    assert (refused["status"], refused["why"]) == (401, "invalid_token")
    assert "user" not in refused
    written = path.read_text()
    for secret in (token[30:60], "app-sk", "confidential", "Hi there", "forged"):
        assert secret not in written
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["x" * 10_000, "\n\x1b[31m" * 5_000, "\U0001f600" * 5_000])
def test_a_line_is_one_line_and_not_long(text: str) -> None:
    record = LOG.makeRecord(LOG.name, logging.ERROR, "", 0, "%s", (text,), None, extra={"facts": {"a": 1}})
    line = JsonLines().format(record)
    assert len(line) <= MAX_LINE
    assert line.isascii()
    assert line.isprintable()
    content = json.loads(line)
    assert content["a"] == 1
    assert text.startswith(content["event"])


def test_files_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_FILE", 1_000)
    path = tmp_path / "gateway.log"
    with logging_to(path):
        for number in range(500):
            LOG.info("number %s", number)
    found = sorted(tmp_path.iterdir())
    assert len(found) == 1 + logs.OLD_FILES
    assert sum(one.stat().st_size for one in found) <= 1_100 * len(found)


def test_a_disk_that_is_full_costs_lines_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gateway.log"
    path.symlink_to("/dev/full")
    with logging_to(path):
        LOG.error("lost")
    assert capsys.readouterr().err == ""
