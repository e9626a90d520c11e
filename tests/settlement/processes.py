# SPDX-License-Identifier: Apache-2.0
"""What runs in processes of its own in settlement tests: a chain that goes on, and a run that may be killed."""

from __future__ import annotations

import asyncio
import sys
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from serving_network.chain.connection import AsyncConnection
from serving_network.files import lock
from serving_network.localchain import EmbeddedChain
from serving_network.localchain.server import running_server
from serving_network.settlement.journal import open_journal
from serving_network.settlement.live import LiveChain
from serving_network.settlement.options import Options
from serving_network.settlement.report import Report
from serving_network.settlement.runner import Settlement
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from tests.settlement.stage import PROVIDER, TEE, USERS, prepare_in_process


def serve_chain(pipe: Pipe, users: int, funds: int, block_time: float | None) -> None:
    """Serve a chain with a network and funded users; send its URL, end when the pipe closes."""
    chain = EmbeddedChain()
    prepare_in_process(chain, USERS[:users], funds)
    with running_server(chain, block_time=block_time) as server:
        pipe.send(server.url)
        try:
            pipe.recv()
        except EOFError:
            return


def settle_once(url: str, directory: Path, log: Path | None, options: Options) -> None:
    """One whole run, as the command makes it; the exit status is 0 if nothing stopped it."""
    report = asyncio.run(settle(url, directory, log, options))
    sys.exit(0 if report.stopped_by is None else 1)


async def settle(url: str, directory: Path, log: Path | None, options: Options) -> Report:
    async with await AsyncConnection.open(url) as connection:
        chain = await LiveChain.open(connection, PROVIDER)
        identity = Identity(chain.chain_id, await chain.block_hash(0) or "", chain.contract, chain.provider)
        with lock(directory / "provider.lock"), open_journal(directory / "journal", identity) as journal:
            return await Settlement(chain, journal, TEE, options).run(
                None if log is None else UsageLog(log, provider=chain.provider)
            )
