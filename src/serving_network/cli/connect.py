# SPDX-License-Identifier: Apache-2.0
"""`serving connect`: an OpenAI API on this machine that buys from a provider and checks every answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.bill import bill_identity, bill_path
from serving_network.cli.console.arguments import AMOUNT_HELP, INFERENCE_SERVICE, PROVIDER
from serving_network.cli.console.command import reads
from serving_network.cli.console.locked_signer import LockedSigner
from serving_network.cli.console.output import EXIT_CHECK_FAILED, money
from serving_network.cli.console.session import Session
from serving_network.cli.console.stopping import on_stop
from serving_network.cli.parts.quote import Given, examine
from serving_network.counting import count
from serving_network.errors import ServingError
from serving_network.money import parse_wei, rounded
from serving_network.store.bills import open_bill
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from serving_network.contracts.models import Offer
    from serving_network.messages.receipts import SignedReceipt

HOST = "127.0.0.1"
PORT = 3090


@reads
async def connect(
    session: Session,
    provider: PROVIDER,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=parse_wei,
            metavar="AMOUNT",
            help=f"Move at most this from your ledger to the provider's account. Default: nothing. {AMOUNT_HELP}",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port. 0 picks a free one.")] = PORT,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="SERVING_CONNECT_KEY", help="The API key that programs must send. Default: a new one."),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="The model's tokenizer.json: warn if 10 % more is billed than it counts.",
        ),
    ] = None,
    require_quote: Annotated[
        bool, typer.Option("--require-quote", help="Refuse to start unless the quote of the provider's TEE is genuine.")
    ] = False,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Open a local OpenAI API that buys from a provider, checks every answer and keeps the receipts.

    Stops buying if the provider's TEE signer changes, or if an answer is not proven by its signature and receipt.

    Example: serving connect good-provider --limit "5 coins"
    """
    from serving_network.clients.buying.endpoint import Endpoint
    from serving_network.clients.buying.funding import Funding
    from serving_network.clients.buying.provider import is_encrypted
    from serving_network.clients.buying.purchase import Buyer
    from serving_network.clients.user import AsyncUser
    from serving_network.tokenizing.tokenizer import load_tokenizer

    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    out = session.out
    network = await session.reader()
    identity = await bill_identity(session, network, provider, service)
    key = api_key or f"local-{secrets.token_urlsafe(24)}"
    bought: list[int] = []

    def report(receipt: SignedReceipt) -> None:
        found = receipt.receipt
        bought.append(found.fee)
        out.entry({"receipt": found.sequence, "cost": money(found.fee)})
        tokens = count(found.input_tokens + found.output_tokens, "token")
        out.line(f"Receipt {found.sequence}: {rounded(found.fee, at_most=True)} for {tokens}")

    stop = asyncio.Event()
    on_stop(stop.set)
    with open_bill(bill_path(session, identity), identity) as bill:
        counts = None if tokenizer is None else load_tokenizer(tokenizer)
        user = AsyncUser(
            await session.chain(), LockedSigner(session.own_address(), session.signer), session.network.require_ledger()
        )
        async with Buyer(user, identity, bill, service, counts) as buyer:
            offer = await buyer.offer()
            if require_quote:
                await _require_quote(session, identity.provider, offer)
            if not limit and await network.account(identity.user, identity.provider, service) is None:
                out.note(
                    "You have no account with this provider: it answers only if it serves you for free. To open one: "
                    f"serving ledger fund {identity.provider} AMOUNT",
                    "yellow",
                )
            session.signer()  # asks for the password now, not at the first request
            funding = Funding(buyer, limit or 0)
            async with Endpoint(buyer, funding, key, report).serving(HOST, port) as url:
                out.entry({"base_url": url, "api_key": key, "model": offer.model, "limit": money(limit or 0)})
                if not is_encrypted(offer.url):
                    out.note("The provider's URL is not encrypted: others on the way can read requests.", "yellow")
                out.line(f"{offer.model} of {session.name(identity.provider)} is at {url}")
                out.line(f'OpenAI(base_url="{url}", api_key="{key}")')
                out.line("Press Ctrl-C to stop.")
                await stop.wait()
    out.line(f"Bought {count(len(bought), 'answer')} for {rounded(sum(bought), at_most=True)}.")
    if funding.moved:
        out.line(f"Moved {rounded(funding.moved)} from the ledger to the account.")


class _OneLine(logging.Formatter):
    """Warnings contain what providers answered, which must not look like another warning."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in the standard library
        return printable(super().formatMessage(record), most=None)


class QuoteNotGenuine(ServingError):
    """The quote of the provider's TEE does not prove who holds the signer's key."""

    exit_code = EXIT_CHECK_FAILED


async def _require_quote(session: Session, provider: str, offer: Offer) -> None:
    verdict, _, path = await examine(session, provider, offer, Given(None, "", None))
    if not verdict.genuine:
        failed = ", ".join(f"{one.name}: {one.found}" for one in verdict.checks if not one.passed)
        raise QuoteNotGenuine(
            f"Nothing proves that a TEE holds the signer's key of {provider}.",
            cause=f"{failed}. Archived in {path}.",
            next_step=f"serving service verify {provider}",
        )
