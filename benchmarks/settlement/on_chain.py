# SPDX-License-Identifier: Apache-2.0
"""A complete run against a chain in another process."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from eth_utils.address import to_checksum_address

from benchmarks.figures import Figure
from benchmarks.settlement.work import PRICES, TEE
from serving_network.chain.connection import AsyncConnection
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.user import AsyncUser
from serving_network.contracts.models import Offer
from serving_network.deployment.local import deploy_local_network
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.accounts import development_keys
from serving_network.localchain.server import running_server
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.settlement.journal import open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalSigner


def serve(pipe: Pipe, users: list[LocalSigner]) -> None:
    """A chain with the network on it and all users funded, in a process of its own, until the pipe closes."""
    chain = EmbeddedChain()

    async def prepare() -> None:
        async with await AsyncConnection.open(chain) as connection:
            await prepare_network(connection, users)

    asyncio.run(prepare())
    with running_server(chain) as server:
        pipe.send(server.url)
        with suppress(EOFError):
            pipe.recv()


async def prepare_network(chain: AsyncConnection, users: list[LocalSigner]) -> None:
    owner, provider = (LocalSigner(development_keys()[number].to_bytes()) for number in (0, 1))
    await deploy_local_network(chain, owner)
    offer = Offer("chatbot", "https://p.example", "model", "TeeML", *PRICES[:2], "{}", to_checksum_address(TEE.address))
    await AsyncProvider(chain, provider).register(offer)
    await AsyncOwner(chain, owner).confirm(provider.address)
    for user in users:
        await chain.rpc("anvil_setBalance", [user.address, hex(100 * COIN)])
        acting = AsyncUser(chain, user, gas=400_000)
        await acting.open_ledger(4 * COIN)
        await acting.fund(provider.address, 2 * COIN)


async def settle_on_a_chain(directory: Path, users: int) -> list[Figure]:
    """Settle a log of `users` users against a chain in another process, in batches of 50 and as large as they go."""
    figures = []
    keys = [LocalSigner(number.to_bytes(32, "big")) for number in range(1000, 1000 + users)]
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(theirs, keys), daemon=True)
    process.start()
    theirs.close()
    async with await AsyncConnection.open(ours.recv()) as connection:
        provider = LocalSigner(development_keys()[1].to_bytes())
        chain = await LiveChain.open(connection, provider)
        identity = Identity(chain.chain_id, await chain.block_hash(0) or "", chain.contract, chain.provider)
        for rows in (50, 200):
            log = directory / f"{rows}.jsonl"
            made = [{"id": f"{rows}-{key.address}", "user": key.address, "time": 1, "fee": 10**15} for key in keys]
            log.write_text("".join(json.dumps(row) + "\n" for row in made))
            with open_journal(directory / "chain-journal", identity) as journal:
                run = Settlement(chain, journal, TEE, Options(batch_rows=rows, first_pause=0.002))
                started = time.perf_counter()
                report = await run.run(UsageLog(log))
                took = time.perf_counter() - started
            figures.append(Figure(f"batches of {rows}", report.settlements / took, "users/s"))
    ours.close()
    process.join()
    return figures
