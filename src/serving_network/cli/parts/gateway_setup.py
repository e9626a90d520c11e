# SPDX-License-Identifier: Apache-2.0
"""`serving gateway init`: register or update the service, check the model server, and write the settings."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from serving_network.cli.console.arguments import INFERENCE_SERVICE
from serving_network.cli.console.command import writes
from serving_network.cli.console.prompts import ask
from serving_network.cli.console.session import Session
from serving_network.cli.console.tee_key import tee_key_from_environment, tee_of
from serving_network.cli.files.offer import parse_url
from serving_network.cli.parts.gateway_options import DEFAULT_SETTINGS, SETTINGS
from serving_network.cli.parts.offers import to_check
from serving_network.contracts.models import Offer
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.files import write_whole
from serving_network.money import parse_wei

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving_network.clients.provider import AsyncProvider

T = TypeVar("T")
PRICE = Annotated[int | None, typer.Option(parser=parse_wei, metavar="AMOUNT", help="Per token, such as '100 wei'.")]


@writes
async def init(
    session: Session,
    upstream: Annotated[str | None, typer.Option(help="The base URL of the model server, with its /v1.")] = None,
    url: Annotated[str | None, typer.Option(help="The public URL of the gateway, to register.")] = None,
    model: Annotated[str | None, typer.Option(help="The model's name, to register.")] = None,
    service_type: Annotated[
        str | None,
        typer.Option(
            help="What is sold: chatbot (the default), embedding, text-to-image, image-editing or speech-to-text."
        ),
    ] = None,
    verifiability: Annotated[str | None, typer.Option(help="How answers are verified. Default: TeeML.")] = None,
    input_price: PRICE = None,
    output_price: PRICE = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 3080,
    settle_key: Annotated[
        str | None, typer.Option("--settle-key", help="Let the gateway start the settler with this key.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The model's tokenizer.json, for a model server that reports no usage."
        ),
    ] = None,
    signer: Annotated[str | None, typer.Option(help="The TEE signer: local or dstack. Default: local.")] = None,
    settings: SETTINGS = DEFAULT_SETTINGS,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Register or update the service, check the model server, and write a settings file with comments.

    In a terminal, it asks for what is missing. A registered service is left as it is, except for what you pass.

    Example: serving gateway init --key provider --upstream http://127.0.0.1:8000/v1
    """
    from serving_network.gateway.running import check_upstream, served_type
    from serving_network.gateway.settings import render_settings
    from serving_network.gateway.upstream import Upstream
    from serving_network.gateway.upstreams import UpstreamSettings
    from serving_network.tokenizing.tokenizer import load_tokenizer

    if settings.exists():
        raise ConfigurationError(
            f"{settings} exists already.", next_step="Remove it, or name another file with --settings."
        )
    given = {
        "url": None if url is None else parse_url(url),
        "model": model,
        "service_type": service_type,
        "verifiability": verifiability,
        "input_price": input_price,
        "output_price": output_price,
    }
    if signer is not None:
        given["tee_signer"] = (await tee_of(signer)).signer.address
    changes = {name: value for name, value in given.items() if value is not None}
    network = await session.reader()
    found = await network.offer(session.own_address(), service)
    registered = found.offer if found is not None and isinstance(found.offer, Offer) else None
    if registered is None and signer is None:
        tee_key_from_environment()
    if upstream is None:
        upstream = _asked(session, "--upstream", "Model server, with its /v1", str, "http://127.0.0.1:8000/v1")
    offer = replace(registered, **changes) if registered is not None else _new_offer(session, given)  # type: ignore[arg-type]
    served_type(offer.service_type)
    server = Upstream(UpstreamSettings(upstream), None if tokenizer is None else load_tokenizer(tokenizer))
    try:
        await check_upstream(server, offer)
    finally:
        await server.close()
    if offer != registered:
        await _register(session, await session.provider(), offer, service, is_new=registered is None)
    provider = session.own_address()
    text = render_settings(
        provider,
        upstream,
        offer,
        host=host,
        port=port,
        settle_key=settle_key,
        signer=signer or "local",
        tokenizer=None if tokenizer is None else str(tokenizer.resolve()),
    )
    if session.dry_run:
        session.out.line(text)
        return
    write_whole(settings, text, new=True)
    session.beside |= {"settings": str(settings), "provider": provider, "model": offer.model}
    if not session.done:
        session.out.result(session.beside)
    session.out.line(f"Wrote {settings} for {offer.model}. Next: serving gateway run")


async def _register(session: Session, provider: AsyncProvider, offer: Offer, service: str, *, is_new: bool) -> None:
    """Register or update, after saying what it costs and resets and asking."""
    if is_new:
        await provider.register(offer, None, service)
        session.out.line(to_check(provider.address, service))
        return
    if await provider.update_costs(offer, service):
        session.out.note("Note: the gateway refuses all requests until the owner has confirmed the signer.", "yellow")
    await provider.update(offer, service)


def _new_offer(session: Session, given: dict[str, Any]) -> Offer:
    """The offer of a provider who has none. What is missing is asked for. Raises InvalidInput without a terminal."""

    def given_or_asked(name: str, question: str, parse: Callable[[str], T], default: str | None = None) -> T:
        if given[name] is not None:
            found: T = given[name]
            return found
        return _asked(session, f"--{name.replace('_', '-')}", question, parse, default)

    tee_signer = given.get("tee_signer") or tee_key_from_environment().address
    return Offer(
        service_type=given["service_type"] or "chatbot",
        url=given_or_asked("url", "Public URL of the gateway", parse_url),
        model=given_or_asked("model", "Name of the model", str),
        verifiability=given["verifiability"] or "TeeML",
        input_price=given_or_asked("input_price", "Price of an input token", parse_wei, "100 gwei"),
        output_price=given_or_asked("output_price", "Price of an output token", parse_wei, "100 gwei"),
        additional_info="{}",
        tee_signer=tee_signer,  # type: ignore[arg-type]
    )


def _asked(session: Session, option: str, question: str, parse: Callable[[str], T], default: str | None) -> T:
    """What is typed, once it can be used. Raises InvalidInput where there is no terminal."""
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question} is missing, and there is no terminal to ask on.", next_step=f"Pass {option}.")
    while True:
        answer = ask(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        if answer is None:
            continue
        try:
            return parse(answer)
        except InvalidInput as invalid:
            session.out.note(f"{invalid} {invalid.next_step or ''}".strip())
