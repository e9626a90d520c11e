# SPDX-License-Identifier: Apache-2.0
"""`serving gateway`: sell the answers of a model server."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shlex
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.chains import LOCAL_CHAIN
from serving_network.cli.bill import read_bill
from serving_network.cli.console.arguments import INFERENCE_SERVICE
from serving_network.cli.console.command import reads, serves
from serving_network.cli.console.output import money
from serving_network.cli.console.session import Session
from serving_network.cli.console.stopping import on_stop
from serving_network.cli.console.tee_key import TEE_KEY, tee_of, tee_signer
from serving_network.cli.console.times import local_time
from serving_network.cli.files.journal import JOURNAL, existing_journal
from serving_network.cli.parts import gateway_settle, gateway_setup
from serving_network.cli.parts.gateway_options import (
    DEFAULT_SETTINGS,
    SET,
    SETTINGS,
    chosen_settings,
    read_settler_state,
    settler_lock,
    store_of,
)
from serving_network.counting import count
from serving_network.errors import ConfigurationError
from serving_network.files import holder_of
from serving_network.gateway.logs import logging_to
from serving_network.gateway.settler import SettlerProcess
from serving_network.money import rounded
from serving_network.store.location import Location
from serving_network.store.served import Summary, summarise
from serving_network.store.taking_in import take_in

if TYPE_CHECKING:
    from serving_network.gateway.running import Running

app = typer.Typer(help="Sell the answers of an OpenAI-compatible model server, as a provider.")
app.command()(gateway_setup.init)

WALLET_VARIABLES = ("SERVING_PASSWORD", "SERVING_PRIVATE_KEY", "SERVING_KEY")
POLL_SECONDS = 0.5
SHOWN_USERS = 20
EXIT_NOT_DRAINED = 11


@app.command()
@serves
async def run(
    session: Session,
    settings: SETTINGS = DEFAULT_SETTINGS,
    changes: SET = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port to listen on. 0 picks a free one.")
    ] = None,
    tls_cert: Annotated[str | None, typer.Option("--tls-cert", help="The certificate chain, in PEM.")] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", help="The certificate's key, in PEM.")] = None,
    settle_key: Annotated[
        str | None, typer.Option("--settle-key", help="Start the settler, too, with this key of the key store.")
    ] = None,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve metrics for Prometheus on this local port.")
    ] = None,
    log_file: Annotated[str | None, typer.Option(help="Log requests and events as JSON to this file.")] = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
    plain_http: Annotated[bool, typer.Option("--plain-http", help="Listen without TLS on any address.")] = False,
    development_key: Annotated[
        bool, typer.Option("--development-key", help="Use a TEE key in this process's memory on a public network.")
    ] = False,
) -> None:
    """Serve requests until Ctrl-C or SIGTERM. The TEE key is read from SERVING_TEE_KEY, or from dstack.

    Requests under way have 60 seconds to finish then. This process never loads the wallet's key: with --settle-key, it
    starts another one that settles, and takes the key's password from SERVING_PASSWORD.

    Example: serving gateway run --settle-key provider
    """
    from serving_network.gateway.running import running
    from serving_network.gateway.tracing import tracing_of

    chosen = chosen_settings(
        settings,
        changes,
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        settle_key=settle_key,
        metrics_port=metrics_port,
        log_file=log_file,
    )
    _allow_open_files()
    network = await session.reader()
    chain_id = network.chain.chain_id
    if chosen.signer == "local" and chain_id != LOCAL_CHAIN and not development_key:
        raise ConfigurationError(
            f"A TEE key in memory proves nothing to users of chain {chain_id}.",
            next_step='Set signer = "dstack" in the settings, or pass --development-key to use it all the same.',
        )
    tee = await tee_of(chosen.signer, chosen.dstack_endpoint, chosen.dstack_key_path)
    store = await store_of(session, chosen, service, journal)
    settler = None
    if chosen.settle_key is not None:
        settler = _settler(session, settings, changes, chosen.settle_key, service, store)
    for name in WALLET_VARIABLES:
        os.environ.pop(name, None)
    stop = asyncio.Event()
    on_stop(stop.set)
    with (
        logging_to(None if chosen.log_file is None else Path(chosen.log_file)),
        tracing_of(os.environ, shows_user=chosen.trace_users) as tracing,
    ):
        async with running(
            chosen,
            network,
            tee.signer,
            store,
            service=service,
            plain_http=plain_http,
            settler=settler,
            quote=tee.report,
            tracing=tracing,
        ) as started:
            reload = stop.set if started.certificate is None else started.certificate.reload
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _ask_settler, store)
            _show_started(session, started, chosen.provider)
            _spare_what_was_loaded()
            await stop.wait()
            session.out.line("Stopping: requests under way have 60 seconds.")


def _spare_what_was_loaded() -> None:
    """Take what was loaded at the start out of garbage collections: a full one stops all requests for 70 ms."""
    gc.collect()
    gc.freeze()


def _allow_open_files() -> None:
    """Raise the limit of open files as far as possible: a request has two sockets, and the usual limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _settler(
    session: Session, settings: Path, changes: list[str] | None, key: str, service: str, store: Location
) -> SettlerProcess:
    """The command that settles, with the password that this process then forgets."""
    session.configuration.keys.find(key)
    if not os.environ.get("SERVING_PASSWORD"):
        raise ConfigurationError(
            "The settler needs a password, and has no terminal to ask on.",
            next_step=f"Set SERVING_PASSWORD, or run it by itself: serving gateway settle --key {key}",
        )
    arguments = ["gateway", "settle", "--settings", str(settings), "--key", key]
    arguments += ["--service", service, "--journal", str(store), "--network", session.network.name]
    for one in changes or ():
        arguments += ["--set", one]
    environment = {name: value for name, value in os.environ.items() if name not in ("SERVING_PRIVATE_KEY",)}
    return SettlerProcess([sys.executable, "-m", "serving_network", *arguments], environment)


def _show_started(session: Session, started: Running, provider: str) -> None:
    session.out.result({"url": started.url, "recovered": started.recovered, "confirmed": started.confirmed})
    session.out.line(f"Serving {started.offer.model} at {started.url}/v1. Press Ctrl-C to stop.")
    if started.recovered:
        session.out.line(f"Billed {count(started.recovered, 'stream')} that a crash cut.")
    for one in started.warnings:
        session.out.note(one, "yellow")
    if not started.confirmed:
        session.out.note(f"The TEE signer is not confirmed: the owner runs serving signer confirm {provider}", "yellow")


app.command()(gateway_settle.settle)


@app.command()
@reads
async def adopt(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Bills that users exported.")],
    tee_key: TEE_KEY = None,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Take in receipts that users have and the store lacks, after it was restored from a copy.

    Stop the gateway first. All receipts are taken in, or none.

    Example: serving gateway adopt bill.json --key provider
    """
    receipts = [one for path in files for one in read_bill(path)[1]]
    file = await existing_journal(session, service, journal, "serving gateway run")
    taken = take_in(file.path, file.identity, await tee_signer(session, tee_key), receipts)
    session.out.result({"receipts": taken.receipts, "users": taken.users, "billed": money(taken.wei)})
    session.out.line(
        f"Took in {count(taken.receipts, 'receipt')} of {count(taken.users, 'user')} over {rounded(taken.wei)}; "
        f"the store had {len(receipts) - taken.receipts} already."
    )


@app.command()
@reads
async def status(session: Session, service: INFERENCE_SERVICE = "inference", journal: JOURNAL = None) -> None:
    """Show what the provider's gateway has served, what of it is not settled or at risk, and how the gateway is.

    Example: serving gateway status --key provider
    """
    from serving_network.gateway.control import GatewayNotRunning, ask_gateway

    file = await existing_journal(session, service, journal, "serving gateway run")
    store = file.path
    found = summarise(store)
    try:
        process = await ask_gateway(store, "GET", "/status")
    except GatewayNotRunning:
        process = None
    settler = read_settler_state(store)
    settling = holder_of(settler_lock(store))
    session.out.result(
        {
            "requests": found.requests,
            "users": found.users,
            "billed": money(found.billed),
            "unsettled": money(found.unsettled),
            "at_risk": money(found.uncovered),
            "users_at_risk": [{"user": user, "at_risk": money(wei)} for user, wei in found.at_risk],
            "streams_under_way": found.begun,
            "settled": money(found.settled),
            "last_settlement": found.settled_at,
            "settler": {"running": settling is not None, "pid": settling, "last_run": settler},
            "gateway": process,
        }
    )
    session.out.facts(_facts(found, file.identity.provider, process, settler, settling is not None))
    for user, wei in found.at_risk[:SHOWN_USERS]:
        session.out.line(f"At risk: {rounded(wei)} of {session.name(user)}")


def _facts(
    found: Summary, provider: str, process: dict[str, Any] | None, settler: dict[str, Any] | None, settling: bool
) -> dict[str, str]:
    facts = {
        "served": f"{count(found.requests, 'request')} of {count(found.users, 'user')}",
        "billed": rounded(found.billed),
        "not settled": rounded(found.unsettled),
        "at risk": f"{rounded(found.uncovered)}, not covered by balances without refunds",
        "streams under way": str(found.begun),
        "last settlement": "none" if found.settled_at is None else local_time(found.settled_at),
        "settler": "running" if settling else "not running",
    }
    if settler is not None:
        facts["settler's last run"] = f"{local_time(settler['at'])}: {settler['error'] or 'no error'}"
    if process is None:
        return facts | {"gateway": "not running"}
    facts["gateway"] = f"{'draining' if process['draining'] else 'serving'} at {process['url']}"
    match process.get("signer_confirmed", True):  # a gateway of an earlier version does not say
        case False:
            facts["TEE signer"] = f"not confirmed: the owner runs serving signer confirm {provider}"
        case None:
            facts["TEE signer"] = "unknown whether it is confirmed: the chain does not answer"
    facts["requests under way"] = str(process["under_way"])
    facts["refused"] = ", ".join(f"{number} {code}" for code, number in process["refused"].items()) or "none"
    for one in process["model_servers"]:
        state = "answers" if one["available"] else f"does not answer, {count(one['failures'], 'failure')} in a row"
        facts[f"model server {one['url']}"] = state
    return facts


@app.command()
@reads
async def drain(
    session: Session,
    resume: Annotated[bool, typer.Option("--resume", help="Accept requests again.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for requests, and for the settlement.")] = 900,
    service: INFERENCE_SERVICE = "inference",
    journal: JOURNAL = None,
) -> None:
    """Refuse new requests, wait for those under way, and settle: before maintenance or a change of the service.

    The gateway keeps running and answers 503 to new requests, until it is stopped or you pass --resume. Settling needs
    a running settler. Exits with code 11 if requests are still under way, or something is unsettled.

    Example: serving gateway drain --key provider
    """
    from serving_network.gateway.control import ask_gateway

    store = (await existing_journal(session, service, journal, "serving gateway run")).path
    summarise(store)  # raises JournalFailure if the store was moved: no gateway runs on it then
    state = await ask_gateway(store, "POST", "/resume" if resume else "/drain")
    if resume:
        session.out.result(state)
        session.out.line("The gateway accepts requests again.")
        return
    ends = time.monotonic() + timeout
    while state["under_way"] and time.monotonic() < ends:
        await asyncio.sleep(POLL_SECONDS)
        state = await ask_gateway(store, "GET", "/status")
    settled, unsettled = False, summarise(store).unsettled
    if not state["under_way"]:
        settled = await _settle_now(store, ends)
        if settled and (unsettled := summarise(store).unsettled):
            await _settle_now(store, ends)  # the first run may have begun before the last request ended
            unsettled = summarise(store).unsettled
    session.out.result({"under_way": state["under_way"], "settler_ran": settled, "unsettled": money(unsettled)})
    if state["under_way"]:
        session.out.line(f"{count(state['under_way'], 'request')} still under way. To wait longer, drain again.")
    elif not settled:
        given = (("--key", session.key), ("--journal", journal))
        options = "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value is not None)
        session.out.line(f"Drained. No settler runs, so nothing was settled. Next: serving settle{options}")
    elif unsettled:
        session.out.line(f"Drained. {rounded(unsettled)} could not be settled: serving gateway status shows why.")
    else:
        session.out.line("Drained and settled: nothing is under way, and nothing is unsettled.")
        session.out.line("The gateway refuses new requests until you stop it, or run serving gateway drain --resume.")
    if state["under_way"] or unsettled:
        raise typer.Exit(EXIT_NOT_DRAINED)


async def _settle_now(store: Location, ends: float) -> bool:
    """Ask the settler for a run and wait for its end. False if there is no settler, or time is up."""
    before = read_settler_state(store)
    if not _ask_settler(store):
        return False
    while read_settler_state(store) == before and time.monotonic() < ends:
        await asyncio.sleep(POLL_SECONDS)
    return read_settler_state(store) != before


def _ask_settler(store: Location) -> bool:
    """Ask the settler for a run. False if none runs."""
    pid = holder_of(settler_lock(store))
    if pid is not None:
        os.kill(pid, signal.SIGUSR1)
    return pid is not None
