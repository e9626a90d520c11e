# SPDX-License-Identifier: Apache-2.0
"""`serving demo`: the example network, on a chain in this process."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.output import EXIT_CHECK_FAILED, Output
from serving_network.cli.console.stopping import on_stop
from serving_network.cli.parts.settlement_report import show_books
from serving_network.counting import count
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.localchain import EmbeddedChain
    from serving_network.settlement.report import Report


def demo(
    explore: Annotated[
        bool,
        typer.Option(
            "--explore", help="Play three weeks before it, too, and show the network in a browser at the end."
        ),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of the explorer. 0 picks a free one.")] = 4000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the example network: a usage log of 120 users, 2 fine-tuning tasks and 3 users' chats become payments.

    It runs in this process and in memory, and leaves nothing behind.

    Example: serving demo
    """
    if not asyncio.run(_demo(Output(as_json), port if explore else None)):
        raise typer.Exit(EXIT_CHECK_FAILED)


async def _demo(out: Output, explore_port: int | None) -> bool:
    from serving_network.chain.connection import AsyncConnection
    from serving_network.demo.chats import Chats
    from serving_network.demo.history import DAYS, History
    from serving_network.demo.play import GENESIS_TIME, Play
    from serving_network.localchain import EmbeddedChain

    genesis = GENESIS_TIME if explore_port is None else GENESIS_TIME - DAYS * 86_400
    started = time.monotonic()
    story: list[dict[str, str]] = []

    def report(who: str, what: str) -> None:
        story.append({"who": who, "what": what})
        out.line(f"{time.monotonic() - started:5.1f} s  {who:<9} {what}")

    with tempfile.TemporaryDirectory() as directory, EmbeddedChain(genesis_time=genesis) as chain:
        async with await AsyncConnection.open(chain) as connection:
            play = Play(connection, Path(directory))
            report("owner", await play.deploy())
            if explore_port is not None:
                report("others", await History(connection).play())
            report("provider", await play.register())
            report("users", await play.fund())
            report("user", await play.take_back())
            report("user", await play.ask_for_a_refund())
            first = await play.settle()
            report("provider", _settled(first))
            for what in _left_open(first):
                report("", what)
            report("users", await play.pay_in(first))
            second = await play.settle(with_log=False)
            report("provider", _settled(second))
            report("both", await play.fine_tune(play.users[0], "task-1", acknowledged=True))
            report("provider", await play.fine_tune(play.users[1], "task-2", acknowledged=False))
            report("user", await play.withdraw())
            chats = Chats(connection, Path(directory))
            async with chats.selling() as what:
                report("provider", what)
                report("user", await chats.ask())
                report("user", await chats.cancel())
                report("user", await chats.run_out())
                what, third = await chats.settle()
                report("provider", what)
                what, verdict = await chats.verify()
                report("user", what)
            books = await play.books()
            if explore_port is not None:
                await _explore(out, chain, explore_port, chats.store)
    balanced = all(line.surplus == 0 for line in books)
    out.line()
    show_books(out, books)
    out.result(
        {
            "seconds": round(time.monotonic() - started, 1),
            "story": story,
            "settlements": [first.as_dict(), second.as_dict(), third.as_dict()],
            "bill_proven": verdict.proven,
            "balanced": balanced,
        }
    )
    return balanced and verdict.proven


async def _explore(out: Output, chain: EmbeddedChain, port: int, store: Path) -> None:
    """Show the network in a browser until Ctrl-C."""
    from serving_network.demo.exploring import explored
    from serving_network.explorer.web.site import gateway_pages
    from serving_network.localchain.server import ChainServer

    stop = asyncio.Event()
    on_stop(stop.set)
    server = ChainServer(chain, port=0)
    await server.start()
    try:
        async with explored(server.url, port, gateway_pages(store, lambda: None)) as url:
            out.entry({"explorer": url})
            out.line(f"The network is at {url} until you press Ctrl-C.")
            await stop.wait()
    finally:
        await server.stop()


def _settled(report: Report) -> str:
    requests = f"settled {count(report.new_requests, 'request')}: " if report.new_requests else "settled the rest: "
    transactions = count(report.batches, "transaction")
    return (
        f"{requests}{describe(report.paid)} of {describe(report.fee)} from {count(report.settlements, 'user')} in"
        f" {transactions}, {report.gas_used // max(1, report.settlements)} gas a user"
    )


def _left_open(report: Report) -> list[str]:
    amounts: Counter[str] = Counter()
    users: Counter[str] = Counter()
    for line in report.lines.values():
        if line.wait is not None:
            amounts[line.wait.value] += line.unsettled
            users[line.wait.value] += 1
    return [f"open: {describe(amounts[why])} of {count(number, 'user')}. {why}" for why, number in users.items()]
