# SPDX-License-Identifier: Apache-2.0
"""Gateway, settler and database are killed at random moments, while users chat; afterwards every wei must add up.

| checked | how |
|---|---|
| every answer that was delivered in full has its row | its receipt is complete |
| no row is there twice, and none is missing | ids differ, sequences have no gap, each is billed after the one before |
| the receipts verify | signatures, prices, and the requests hash of each settlement on the chain |
| the chain pays the rows to the wei | settlements, and what the accounts lost, are the sum of the receipts |
| nothing stays reserved | no request is begun in the store |
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.bills.evidence import read_evidence
from serving_network.clients.bills.matching import Coverage
from serving_network.clients.bills.verdict import verify_bill
from serving_network.clients.read.network import AsyncNetwork
from serving_network.localchain.accounts import development_keys
from serving_network.messages.receipts import Ending, SignedReceipt, receipt_id
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.store.bills import BillIdentity
from serving_network.testing import LocalNetwork
from tests import zygote
from tests.clients.network_fixture import TEE_KEY
from tests.gateway.programs import write_home
from tests.gateway.stage import CHAT, PROVIDER, Stage, events, model_server, plain, streaming
from tests.postgres import PostgresServer

GATEWAY, SETTLER, DATABASE = "run", "settle", "database"
USERS: Final = (3, 4, 5)
CLIENTS_OF_USER: Final = 2
TOKENS: Final = 5
ANSWER_SECONDS: Final = 0.2
FUNDS: Final = 5 * COIN
LONGEST_LIFE: Final = 2.5


@dataclass
class Tally:
    """What happened: kills by program, answers by their end as clients saw it, receipts by their ending."""

    kills: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    receipts: Counter[str] = field(default_factory=Counter)
    delivered: dict[int, set[str]] = field(default_factory=lambda: {user: set() for user in USERS})
    settlements: int = 0
    billed: int = 0


async def kill_under_load(
    stage: Stage, home: Path, kills: int, chance: random.Random, database: PostgresServer | None = None
) -> Tally:
    """Kill so many times, then check everything. The server of the store is killed, too, if it is a `database`."""
    tally = Tally()
    programs_killed = (GATEWAY, SETTLER) if database is None else (GATEWAY, SETTLER, DATABASE)
    victims = [programs_killed[number % len(programs_killed)] for number in range(kills)]
    chance.shuffle(victims)
    tokens = {user: stage.token(user) for user in USERS}
    await stage.act(lambda: _fund(stage))
    async with model_server(_answer) as model:
        write_home(stage, home, model.url)
        programs = _Programs(stage, home)
        async with programs.running(GATEWAY), programs.running(SETTLER):
            clients = [
                asyncio.create_task(_use(programs.url, tokens[user], tally, user, chance))
                for user in USERS
                for _ in range(CLIENTS_OF_USER)
            ]
            for victim in victims:
                await asyncio.sleep(chance.uniform(0.05, LONGEST_LIFE))
                tally.kills[victim] += 1
                if victim == DATABASE and database is not None:
                    await asyncio.to_thread(database.crash)
                else:
                    programs.kill(victim)
                    programs.start(victim)
            async with asyncio.timeout(120):
                while not tally.seen["whole"]:  # a busy machine starts programs slowly
                    await asyncio.sleep(0.1)
            for client in clients:
                client.cancel()
                with suppress(asyncio.CancelledError):
                    await client
    await _check(stage, tokens, tally)
    return tally


class _Programs:
    """The gateway and the settler, as processes."""

    def __init__(self, stage: Stage, home: Path) -> None:
        self._port = _quiet_port()
        self.url = f"http://127.0.0.1:{self._port}/v1/chat/completions"
        self._home = home
        self._options = ["--network", "test", "--settings", str(home / "gateway.toml"), "--journal", str(stage.store)]
        self._processes: dict[str, zygote.Silent] = {}

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[None]:
        """Run a program; at the end it is asked to stop."""
        self.start(name)
        supervisor = asyncio.create_task(self._keep_running(name))
        try:
            yield
        finally:
            supervisor.cancel()
            if self._processes[name].runs():
                os.kill(self._processes[name].pid, signal.SIGTERM)
            await asyncio.to_thread(self._processes[name].wait)

    async def _keep_running(self, name: str) -> None:
        """Start it again if it ends by itself, as one does whose database is killed while it starts."""
        while True:
            await asyncio.sleep(0.2)
            if not self._processes[name].runs():
                self.start(name)

    def start(self, name: str) -> None:
        own = {"SERVING_HOME": str(self._home), "SERVING_TEE_KEY": TEE_KEY.hex()}
        if name == GATEWAY:
            more = ["--port", str(self._port)]
        else:
            more = ["--set", "settle_seconds=1"]
            own["SERVING_PRIVATE_KEY"] = development_keys()[PROVIDER].to_hex()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SERVING_")}
        self._processes[name] = zygote.Silent(
            ["gateway", name, *self._options, *more], environment=kept | own, directory=self._home
        )

    def kill(self, name: str) -> None:
        if self._processes[name].runs():
            self._processes[name].kill()
        self._processes[name].wait()


def _quiet_port() -> int:
    """A free port that the system gives to nobody while the gateway that uses it is down."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            port = random.randrange(20_000, 30_000)
            probe.bind(("127.0.0.1", port))
            return port


def _fund(stage: Stage) -> None:
    for user in (stage.world.other_user, stage.world.stranger):
        user.open_ledger(2 * FUNDS)
        user.fund(stage.world.provider.address, FUNDS)


async def _answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """As slowly as a model answers: a kill finds every client waiting."""
    parts = events(TOKENS)
    try:
        if body.get("stream"):
            return await streaming(parts, pause=ANSWER_SECONDS / len(parts))(request, body)
        await asyncio.sleep(ANSWER_SECONDS)
        return await plain(request, body)
    except ConnectionError:  # the gateway was killed
        return web.Response()


async def _use(url: str, token: str, tally: Tally, user: int, chance: random.Random) -> None:
    """Send requests until cancelled: streamed or not, and some streams are cancelled."""
    async with aiohttp.ClientSession() as http:
        while True:
            stream, cancel = chance.random() < 0.7, chance.random() < 0.1
            try:
                async with http.post(url, json=CHAT | {"stream": stream}, headers={"Authorization": token}) as answer:
                    content = await (answer.content.readany() if stream and cancel else answer.read())
                    if answer.status != 200:
                        tally.seen[f"status {answer.status}"] += 1
                        await asyncio.sleep(0.1)
                    elif not stream or content.endswith(b"data: [DONE]\n\n"):
                        tally.seen["whole"] += 1
                        tally.delivered[user].add(answer.headers["ZG-Res-Key"])
                    else:
                        tally.seen["cancelled"] += 1
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)  # the gateway is starting
            except aiohttp.ClientError:
                tally.seen["cut by a kill"] += 1


async def _check(stage: Stage, tokens: dict[int, str], tally: Tally) -> None:
    async with stage.gate() as gate:  # which recovers what the last kill cut, and leaves nothing reserved
        bills = {user: await gate.receipts(token) for user, token in tokens.items()}
    report = await stage.settle()
    assert report.unsettled == 0
    lost = 0
    async with await AsyncConnection.open(stage.url) as connection:
        network = AsyncNetwork(connection)
        for user, receipts in bills.items():
            identity = await _identity(network, stage, user)
            _check_rows(receipts, tally, user)
            verdict = verify_bill(receipts, await read_evidence(network, identity))
            assert verdict.proven, (verdict.problems, verdict.payments)
            assert verdict.paid(Coverage.COVERED) == verdict.billed
            account = await network.account(identity.user, identity.provider)
            assert account is not None
            lost += FUNDS - account.balance
            tally.settlements += len(verdict.payments)
            tally.billed += verdict.billed
    assert lost == tally.billed


def _check_rows(receipts: list[SignedReceipt], tally: Tally, user: int) -> None:
    rows = {one.receipt.id: one.receipt for one in receipts}
    assert len(rows) == len(receipts)
    for key in tally.delivered[user]:
        assert rows[receipt_id(key)].ending is Ending.COMPLETE, key
    tally.receipts.update(row.ending.name.lower().replace("_", " ") for row in rows.values())


async def _identity(network: AsyncNetwork, stage: Stage, user: int) -> BillIdentity:
    contract = (await network.service("inference")).address
    address = LocalNetwork.signer(user).address
    return BillIdentity(network.chain.chain_id, contract, stage.world.provider.address, address)
