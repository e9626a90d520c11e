# SPDX-License-Identifier: Apache-2.0
"""The gateway and its settler as programs: each survives the other, and drain settles everything."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import aiohttp

from serving_network.cli.parts.gateway_options import read_settler_state, settler_lock
from serving_network.files import holder_of
from serving_network.gateway.control import ask_gateway
from serving_network.gateway.settler import SettlerProcess, kept_running
from serving_network.store.served import summarise
from serving_network.testing import LocalNetwork
from serving_network.wallet.keys import KeyStore
from tests.gateway.programs import PASSWORD, printed_by, program, serving, write_home
from tests.gateway.stage import CHAT, PROVIDER, Stage, model_server

SECONDS = 60


async def settler(store: Path, other_than: int | None = None) -> int:
    """The process id of the settler, once it runs."""
    async with asyncio.timeout(SECONDS):
        while (pid := holder_of(settler_lock(store))) in (None, other_than):
            await asyncio.sleep(0.1)
    assert pid is not None
    return pid


def test_a_settler_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    command, ran = tmp_path / "settler", tmp_path / "ran"

    async def scenario() -> None:
        async with kept_running(SettlerProcess([str(command)], {}, first_pause=0.01)) as settler:
            await asyncio.sleep(0.05)
            seen = [settler.runs]
            command.write_text(f"#!/bin/sh\n: > {ran}\nexec sleep 60\n")
            command.chmod(0o700)
            async with asyncio.timeout(SECONDS):
                while not (ran.exists() and settler.runs):
                    await asyncio.sleep(0.05)
            seen.append(settler.runs)
        seen.append(settler.runs)
        assert seen == [False, True, False]

    asyncio.run(scenario())


def test_each_survives_the_other(stage: Stage, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    KeyStore(home / "keys", scrypt_work=2).add("provider", LocalNetwork.signer(PROVIDER), PASSWORD)

    async def scenario() -> None:
        headers = {"Authorization": stage.token()}
        async with model_server() as model, aiohttp.ClientSession(headers=headers) as http:
            write_home(stage, home, model.url)
            async with program(
                stage, home, "--settle-key", "provider", "--set", "settle_seconds=3600", SERVING_PASSWORD=PASSWORD
            ) as (process, printed):
                pid = await settler(stage.file)
                url = f"{printed['url']}/v1/chat/completions"
                os.kill(pid, signal.SIGKILL)
                async with http.post(url, json=CHAT) as answer:
                    assert answer.status == 200
                pid = await settler(stage.file, other_than=pid)
                code, drained = await serving(home, "gateway", "drain", "--journal", str(stage.file))
                assert (code, drained["unsettled"]["wei"], drained["settler_ran"]) == (0, "0", True)
                found = summarise(stage.file)
                assert found.settled == found.billed > 0
                async with http.post(url, json=CHAT) as answer:
                    assert answer.status == 503
                _, shown = await serving(home, "gateway", "status", "--journal", str(stage.file))
                assert shown["gateway"]["settler"] is True
                assert shown["settler"]["pid"] == pid
                assert shown["last_settlement"] == found.settled_at
                _, text = await printed_by(home, "gateway", "status", "--journal", str(stage.file))
                lines = dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines())
                assert lines["served"] == "1 request of 1 user"
                assert lines["gateway"] == f"draining at {printed['url']}"
                assert (lines["settler"], lines["refused"]) == ("running", "1 draining")
                assert lines["settler's last run"].endswith(": no error")
                os.kill(process.pid, signal.SIGKILL)
                await process.wait()
            assert holder_of(settler_lock(stage.file)) == pid
            changes = ["--set", "settle_seconds=3600", "--set", "settle_above=1 wei"]
            async with program(stage, home, "--settle-key", "provider", *changes, SERVING_PASSWORD=PASSWORD) as (
                process,
                printed,
            ):
                assert not (await ask_gateway(stage.file, "GET", "/status"))["draining"]
                before = read_settler_state(stage.file)
                process.send_signal(signal.SIGUSR1)  # is passed on to the settler
                async with asyncio.timeout(SECONDS):
                    while read_settler_state(stage.file) == before:
                        await asyncio.sleep(0.1)
                os.kill(pid, signal.SIGTERM)
                pid = await settler(stage.file, other_than=pid)
                async with http.post(f"{printed['url']}/v1/chat/completions", json=CHAT) as answer:
                    assert answer.status == 200
                async with asyncio.timeout(SECONDS):
                    while summarise(stage.file).unsettled:
                        await asyncio.sleep(0.1)
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
            assert holder_of(settler_lock(stage.file)) is None

    asyncio.run(scenario())
    account = stage.world.user.account(stage.world.user.address, stage.world.provider.address)
    assert account is not None
    assert account.nonce > 0
