# SPDX-License-Identifier: Apache-2.0
"""`serving gateway`: sell the answers of a model server."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.command import reads
from serving_network.cli.journal_file import JOURNAL, existing_journal, provider_address, usual_path
from serving_network.cli.output import money, rounded
from serving_network.cli.session import Session
from serving_network.cli.tee_key import tee_key_from_environment
from serving_network.counting import count
from serving_network.errors import ConfigurationError
from serving_network.files import write_whole
from serving_network.gateway.running import check_upstream, registered_offer, running
from serving_network.gateway.settings import TEMPLATE, read_settings
from serving_network.gateway.upstream import Upstream
from serving_network.gateway.upstreams import UpstreamSettings
from serving_network.networks import BUILT_IN
from serving_network.store.served import summarise

app = typer.Typer(help="Sell the answers of an OpenAI-compatible model server, as a provider.")

LOCAL_CHAIN = BUILT_IN["local"].chain_id
SETTINGS = Annotated[Path, typer.Option("--settings", help="The settings file.")]
DEFAULT_SETTINGS = Path("gateway.toml")


@app.command()
@reads
async def init(
    session: Session,
    upstream: Annotated[str, typer.Option(help="The base URL of the model server, with its /v1.")],
    settings: SETTINGS = DEFAULT_SETTINGS,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Check the registered service and the model server, and write a settings file with comments.

    Example: serving gateway init --key provider --upstream http://127.0.0.1:8000/v1
    """
    provider = provider_address(session)
    offer, _ = await registered_offer(await session.reader(), provider, service)
    server = Upstream(UpstreamSettings(upstream))
    await server.open()
    try:
        await check_upstream(server, offer)
    finally:
        await server.close()
    try:
        write_whole(settings, TEMPLATE.format(provider=provider, upstream=upstream), new=True)
    except FileExistsError:
        raise ConfigurationError(
            f"{settings} exists already.", next_step="Remove it, or name another file with --settings."
        ) from None
    session.out.result({"settings": str(settings), "provider": provider, "model": offer.model})
    session.out.line(f"Wrote {settings} for {offer.model}. Next: serving gateway run")


@app.command()
@reads
async def run(
    session: Session,
    settings: SETTINGS = DEFAULT_SETTINGS,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Listen without TLS on any address.")] = False,
    development_key: Annotated[
        bool, typer.Option("--development-key", help="Use a TEE key in this process's memory on a public network.")
    ] = False,
) -> None:
    """Serve requests until Ctrl-C or SIGTERM. The TEE key is read from SERVING_TEE_KEY.

    Requests under way have 60 seconds to finish then. To be paid for what was served, run serving settle.

    Example: serving gateway run --settings gateway.toml
    """
    chosen = read_settings(settings)
    network = await session.reader()
    chain_id = network.chain.chain_id
    if chain_id != LOCAL_CHAIN and not development_key:
        raise ConfigurationError(
            f"A TEE key in memory proves nothing to users of chain {chain_id}.",
            cause="This version has no signer inside a TEE.",
            next_step="Pass --development-key to use it all the same.",
        )
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    contract = (await network.service(service)).address
    store = journal or usual_path(chain_id, contract, chosen.provider)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(
        chosen, network, tee_key_from_environment(), store, service=service, plain_http=plain_http
    ) as started:
        session.out.result({"url": started.url, "recovered": started.recovered, "confirmed": started.confirmed})
        session.out.line(f"Serving {started.offer.model} at {started.url}/v1. Press Ctrl-C to stop.")
        if started.recovered:
            session.out.line(f"Billed {count(started.recovered, 'stream')} that a crash cut.")
        if not started.confirmed:
            session.out.note(
                f"The TEE signer is not confirmed: the owner runs serving signer confirm {chosen.provider}", "yellow"
            )
        await stop.wait()
        session.out.line("Stopping: requests under way have 60 seconds.")


@app.command()
@reads
async def status(session: Session, service: INFERENCE_SERVICE = "inference", journal: JOURNAL = None) -> None:
    """Show what the provider's gateway has served, and what of it is not settled.

    Example: serving gateway status --key provider
    """
    file = await existing_journal(session, service, journal)
    found = summarise(file.path)
    session.out.result(
        {
            "requests": found.requests,
            "users": found.users,
            "billed": money(found.billed),
            "unsettled": money(found.unsettled),
            "streams_under_way": found.begun,
        }
    )
    session.out.facts(
        {
            "served": f"{count(found.requests, 'request')} of {count(found.users, 'user')}",
            "billed": rounded(found.billed),
            "not settled": rounded(found.unsettled),
            "streams under way": str(found.begun),
        }
    )
