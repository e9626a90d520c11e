# SPDX-License-Identifier: Apache-2.0
"""`serving explore`: the network in a browser. This command loads no key, and no code that could."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.console.options import JSON, NETWORK
from serving_network.cli.console.output import Output
from serving_network.cli.console.stopping import on_stop
from serving_network.cli.files.index import INDEX, index_at, named_in_next_steps, subject_of
from serving_network.errors import InvalidInput
from serving_network.networks import Configuration, home
from serving_network.store.location import Location, located

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.clients.bills.verdict import Verdict
    from serving_network.explorer.web.site import Source
    from serving_network.messages.receipts import SignedReceipt
    from serving_network.networks import NamedNetwork
    from serving_network.store.bills import BillIdentity

PORT = 4000
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def explore(
    network: NETWORK = None,
    index: INDEX = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port. 0 picks a free one.")] = PORT,
    host: Annotated[
        str, typer.Option(help="The address to listen on. The default is reachable from this machine only.")
    ] = "127.0.0.1",
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="Also serve this host name, such as that of a proxy. Repeatable."),
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the chain.")] = 5.0,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Keep the index up to date, or only show what it has.")
    ] = True,
    journal: Annotated[
        str | None,
        typer.Option("--journal", metavar="PATH|URL", help="Add the dashboard of the gateway with this store."),
    ] = None,
    bills_of: Annotated[
        str | None,
        typer.Option("--bills", metavar="USER", help="Add the bills of this user, from the receipts on this machine."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Show the network in a browser: providers, users, settlements, owners. Needs no key.

    Example: serving explore --network mainnet
    """
    if (journal or bills_of) and host not in LOOPBACK:
        raise InvalidInput(
            "A gateway's store and a user's bills are shown on this machine only.",
            cause=f"Everybody who reaches {host} could read them.",
            next_step="Omit --host, or show the network alone, without --journal and --bills.",
        )
    configuration = Configuration(home())
    chosen = configuration.network(network)
    asyncio.run(
        _explore(
            configuration,
            chosen,
            Output(as_json),
            index=index,
            listening=(host, port, frozenset(one.lower() for one in names or ())),
            every=every if follow else None,
            journal=None if journal is None else located(journal, home() / "settlements"),
            bills_of=bills_of,
        )
    )


async def _explore(
    configuration: Configuration,
    network: NamedNetwork,
    out: Output,
    *,
    index: str | None,
    listening: tuple[str, int, frozenset[str]],
    every: float | None,
    journal: Location | None,
    bills_of: str | None,
) -> None:
    from serving_network.chain.reading import AsyncReader
    from serving_network.explorer.keeping import kept_up
    from serving_network.explorer.web.serving import served

    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    stop = asyncio.Event()
    on_stop(stop.set)
    location = index_at(index, network)
    source = _source(configuration, network, location, journal, bills_of)
    async with AsyncExitStack() as held:
        held.enter_context(named_in_next_steps(index))
        if every is not None:
            open_chain = partial(AsyncReader.open, network.urls, network.chain_id)
            async with await open_chain() as chain:
                subject = await subject_of(chain, network.require_ledger())
            if not await held.enter_async_context(kept_up(location, subject, open_chain, every)):
                out.note("Another process keeps the index up to date.")
        url = await held.enter_async_context(served(source, *listening))
        out.entry({"url": url, "network": network.name, "index": str(location)})
        out.line(f"The network {network.name} is at {url}")
        out.line("Press Ctrl-C to stop.")
        await stop.wait()


def _source(
    configuration: Configuration,
    network: NamedNetwork,
    location: Location,
    journal: Location | None,
    bills_of: str | None,
) -> Source:
    from serving_network.cli.parts.dashboard import dashboard
    from serving_network.explorer.web.pages.bills import Bills
    from serving_network.explorer.web.site import Source, bill_pages
    from serving_network.store.opening import connected_for_reading

    own: dict[Any, Any] = {}
    if journal is not None:
        with connected_for_reading(journal):  # refuse what cannot be shown now, not on the page
            own |= dashboard(journal)
    if bills_of is not None:
        user = configuration.address(bills_of)
        folder = configuration.directory / "bills"
        own |= bill_pages(Bills(folder, network.chain_id, user, partial(_verdict, network)))
    return Source(location, network.name, configuration.addresses(), own)


def _verdict(network: NamedNetwork, bill: BillIdentity, receipts: Sequence[SignedReceipt]) -> Verdict:
    """What the chain says about a bill. Runs in a thread without a loop."""
    from serving_network.clients.bills.evidence import read_evidence
    from serving_network.clients.bills.verdict import verify_bill
    from serving_network.clients.read.network import AsyncNetwork

    async def read() -> Verdict:
        async with await AsyncNetwork.open(network.urls, network.require_ledger(), network.chain_id) as reader:
            return verify_bill(receipts, await read_evidence(reader, bill))

    return asyncio.run(read())
