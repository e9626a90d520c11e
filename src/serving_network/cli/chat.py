# SPDX-License-Identifier: Apache-2.0
"""`serving chat`: talk to a provider's model in the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving_network.cli.bill import bill_identity, bill_path
from serving_network.cli.console.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.console.command import reads
from serving_network.cli.console.output import money
from serving_network.cli.console.prompts import ask_line
from serving_network.cli.console.session import Session
from serving_network.counting import count
from serving_network.errors import ServingError
from serving_network.money import rounded
from serving_network.store.bills import open_bill
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from serving_network.clients.buying.purchase import Buyer, Purchase
    from serving_network.messages.receipts import SignedReceipt

MAX_INPUT = 1024 * 1024
CUT_SECONDS = 10.0  # the longest wait for the receipt of an answer that was cut
BOUND_HEADER = "X-Serving-Output-Bound"


@reads
async def chat(
    session: Session,
    provider: PROVIDER,
    prompt: Annotated[
        str | None, typer.Argument(help="Ask this and exit. Without it, standard input is asked, or a chat starts.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model. Default: the one that the provider registered.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="The most tokens of an answer.")] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Chat with a provider's model. Each answer is checked, and shown with what it cost.

    Example: serving chat good-provider "Why is the sky blue?"
    """
    from serving_network.clients.buying.provider import is_encrypted
    from serving_network.clients.buying.purchase import Buyer

    user = await session.user()
    identity = await bill_identity(session, user, provider, service)
    with open_bill(bill_path(session, identity), identity) as bill:
        async with Buyer(user, identity, bill, service) as buyer:
            offer = await buyer.offer()
            if not is_encrypted(offer.url):
                session.out.note("The provider's URL is not encrypted: others on the way can read this.", "yellow")
            asked = {"model": model or offer.model} | ({} if max_tokens is None else {"max_tokens": max_tokens})
            if prompt is None and not sys.stdin.isatty():
                prompt = sys.stdin.read(MAX_INPUT)
            if prompt is not None:
                text, receipt = await _ask(session, buyer, asked, [_message("user", prompt)], [])
                session.out.result({"answer": text, "cost": money(receipt.receipt.fee), "receipt": receipt.as_json()})
            else:
                await _converse(session, buyer, asked)


async def _converse(session: Session, buyer: Buyer, asked: dict[str, Any]) -> None:
    session.signer()  # asks for the password before the first question, which it could be typed into
    session.out.note(f"Chatting with {asked['model']}. End with Ctrl-D.")
    messages: list[dict[str, str]] = []
    fees: list[int] = []
    try:
        while (line := ask_line("> ")) is not None:
            if not line.strip():
                continue
            messages.append(_message("user", line.strip()))
            text, receipt = await _ask(session, buyer, asked, messages, fees)
            session.out.entry({"answer": text, "cost": money(receipt.receipt.fee), "receipt": receipt.as_json()})
            messages.append(_message("assistant", text))
    finally:
        if fees:
            session.out.note(f"{count(len(fees), 'answer')}, {rounded(sum(fees), at_most=True)} in all.")


async def _ask(
    session: Session, buyer: Buyer, asked: dict[str, Any], messages: list[dict[str, str]], fees: list[int]
) -> tuple[str, SignedReceipt]:
    """Ask, and print the answer as it arrives. Its fee is added to `fees`, even if Ctrl-C cuts it.

    Raises ProviderFailure.
    """
    from serving_network.clients.buying.deltas import Deltas

    body = json.dumps(asked | {"messages": messages, "stream": True}).encode()
    deltas, texts = Deltas(), []
    purchase = None
    try:
        async with buyer.ask("/chat/completions", body) as purchase:
            if purchase.status != 200:
                raise await purchase.refusal()
            if bound := purchase.headers.get(BOUND_HEADER):
                session.out.note(f"Your balance covers an answer of {printable(bound)} tokens at most.", "yellow")
            async for part in purchase.parts():
                text = deltas.feed(part)
                texts.append(text)
                session.out.part(text)
            session.out.line()
            receipt = await purchase.prove()
    except asyncio.CancelledError:
        if purchase is not None:
            session.out.line()
            await _account_for_cut(session, purchase, fees)
        raise
    _show_cost(session, receipt, fees, "signature checked")
    return "".join(texts), receipt


async def _account_for_cut(session: Session, purchase: Purchase, fees: list[int]) -> None:
    """Show what an answer costs that Ctrl-C has cut: the provider bills what it delivered.

    Ctrl-C cancels the command again and again until it ends, so the receipt is fetched by a task of its own.
    """
    proving = asyncio.create_task(asyncio.wait_for(purchase.prove(), CUT_SECONDS))
    while not proving.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({proving})
    try:
        receipt = proving.result()
    except (ServingError, TimeoutError):
        provider = purchase.provider
        session.out.note(
            "The provider bills what it delivered of the answer that was cut. To see the cost: "
            f"serving bill fetch {provider}, then serving bill show {provider}",
            "yellow",
        )
    else:
        _show_cost(session, receipt, fees, "of the answer that was cut")


def _show_cost(session: Session, receipt: SignedReceipt, fees: list[int], what: str) -> None:
    found = receipt.receipt
    fees.append(found.fee)
    tokens = count(found.input_tokens + found.output_tokens, "token")
    session.out.note(f"Cost {rounded(found.fee, at_most=True)} for {tokens}; receipt {found.sequence}, {what}.", "dim")


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
