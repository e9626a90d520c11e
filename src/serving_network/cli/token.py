# SPDX-License-Identifier: Apache-2.0
"""`serving token`: session tokens and API keys."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from serving_network.cli.console.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.console.command import reads, writes
from serving_network.cli.console.complete import complete_address
from serving_network.cli.console.session import Session
from serving_network.cli.console.times import local_time, moment
from serving_network.errors import InvalidInput, ServingError
from serving_network.messages.session_tokens import (
    DAY_MS,
    SESSION_ID,
    SessionToken,
    TokenBook,
    check_token,
    read_token,
)

if TYPE_CHECKING:
    from serving_network.clients.read.network import AsyncNetwork

app = typer.Typer(help="Make, list, check and revoke session tokens and API keys.")

HOUR_MS = 60 * 60 * 1000


@app.command()
@reads
async def make(
    session: Session,
    provider: PROVIDER,
    hours: Annotated[
        int | None, typer.Option(min=1, max=24, help="Make a session token for this many hours. Default: 24.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Make an API key for this many days. It can be revoked by its id.")
    ] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Make an API key that does not expire.")] = False,
    token_id: Annotated[
        int | None, typer.Option("--id", min=0, max=254, help="The API key's id. Default: a free one.")
    ] = None,
    free: Annotated[
        bool, typer.Option("--free", help="Make a session token without an account: the provider serves you for free.")
    ] = False,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Make a token for requests to a provider's server. No transaction is sent.

    Prints the token on standard output, and how to use it on standard error. Anybody who has the token can
    spend your balance with this provider.

    Example: serving token make good-provider --days 30
    """
    from serving_network.contracts.errors import AccountNotExists

    if (hours is not None) + (days is not None) + forever > 1:
        raise InvalidInput(
            "Only one of --hours, --days and --forever can be given.", next_step="serving token make --help"
        )
    of_session = days is None and not forever and token_id is None
    if free and not of_session:
        raise InvalidInput("An API key needs an account.", next_step="Pass --free without --days, --forever and --id.")
    user = await session.user()
    whose = session.address(provider)
    account = await user.account(user.address, whose, service)
    if account is None and not free:
        raise AccountNotExists(user=user.address, provider=whose)
    session.signer()
    if of_session:
        lifetime_ms = hours * HOUR_MS if hours else DAY_MS
        header = await user.make_session(whose, service, lifetime_ms=lifetime_ms, free=free)
    else:
        lifetime_ms = 0 if forever else days * DAY_MS if days else (hours or 24) * HOUR_MS
        header = await user.make_api_key(whose, _book(session), service, lifetime_ms=lifetime_ms, token_id=token_id)
    token, _ = read_token(header)
    used = await _use(user, whose, service)
    session.out.result(
        {
            "authorization": header,
            "id": None if token.token_id == SESSION_ID else token.token_id,
            "expires": moment(token.expires_at // 1000) if token.expires_at else None,
            "base_url": used[0] if used else None,
        }
    )
    expires = f"expires {_expiry(token.expires_at)}" if token.expires_at else "never expires"
    revokes = "revoke-all" if token.token_id == SESSION_ID else "revoke"
    numbered = "" if token.token_id == SESSION_ID else f" {token.token_id}"
    session.out.note(f"{_kind(token)}, {expires}. Keep it secret.")
    if account is None:
        session.out.note("Without an account, it cannot be revoked.")
    else:
        session.out.note(f"To revoke it: serving token {revokes} {provider}{numbered}")
    if used:
        session.out.note(f"Base URL: {used[0]}")
        session.out.note(f"To try it, with the token in TOKEN: {used[1]}")
    session.out.document(header.removeprefix("Bearer "))


@app.command("list")
@reads
async def list_tokens(session: Session, provider: PROVIDER, service: INFERENCE_SERVICE = "inference") -> None:
    """List the API keys made on this machine for a provider, and every id revoked on the chain.

    Example: serving token list good-provider
    """
    from serving_network.contracts.errors import AccountNotExists

    network = await session.reader()
    whose = session.address(provider)
    account = await network.account(session.own_address(), whose, service)
    if account is None:
        raise AccountNotExists(user=session.own_address(), provider=whose)
    live = _book(session).in_use(network.chain.chain_id, account, time.time_ns() // 1_000_000)
    revoked = [number for number in range(SESSION_ID + 1) if account.revoked_bitmap >> number & 1]
    session.out.result(
        {
            "generation": account.generation,
            "in_use": [asdict(one) for one in live.values()],
            "revoked": revoked,
        }
    )
    rows = [
        (str(one.token_id), "in use", local_time(one.timestamp // 1000), _expiry(one.expires_at))
        for one in live.values()
    ]
    rows += [(str(number), "revoked", "", "") for number in revoked]
    session.out.table(
        ("id", "state", "made", "expires"), rows, empty="No API key was made on this machine, and none is revoked."
    )


@app.command()
@writes
async def revoke(
    session: Session,
    provider: PROVIDER,
    token_ids: Annotated[list[int], typer.Argument(min=0, max=255, metavar="ID...", help="One or more ids.")],
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Revoke API keys by their ids, permanently.

    Example: serving token revoke good-provider 3
    """
    user = await session.user()
    if SESSION_ID in token_ids:
        session.out.note(
            f"Note: {SESSION_ID} is the id of every session token. Until serving token revoke-all, none can be made: "
            "serving chat and serving connect stop working with this provider.",
            "yellow",
        )
    await user.revoke_tokens(session.address(provider), token_ids, service)


@app.command("revoke-all")
@writes
async def revoke_all(session: Session, provider: PROVIDER, service: INFERENCE_SERVICE = "inference") -> None:
    """Revoke every token for a provider, session tokens included. All ids are then free again.

    Example: serving token revoke-all good-provider
    """
    user = await session.user()
    await user.revoke_all_tokens(session.address(provider), service)


@app.command()
@reads
async def check(
    session: Session,
    provider: Annotated[
        str | None,
        typer.Option(help="The provider. Default: the key in use.", autocompletion=complete_address),
    ] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Check an Authorization header from standard input against the chain, as the provider.

    Example: serving token check < header.txt
    """
    whose = session.address_or_own(provider)
    token, signer = read_token(sys.stdin.readline())
    network = await session.reader()
    account = await network.account(token.address, whose, service)
    check_token(token, signer, whose, account, time.time_ns() // 1_000_000)
    session.out.result(asdict(token))
    session.out.facts(
        {
            "user": session.name(token.address),
            "token": _kind(token),
            "expires": _expiry(token.expires_at),
        }
    )


async def _use(network: AsyncNetwork, provider: str, service: str) -> tuple[str, str] | None:
    """The base URL for an OpenAI client, and a request with curl; None if the provider has no server for inference."""
    from serving_network.clients.read.inference import inference_service

    try:
        offer, _ = await inference_service(network, provider, service)
    except ServingError:
        return None
    base = f"{offer.url}/v1/proxy"
    body = json.dumps({"model": offer.model, "messages": [{"role": "user", "content": "Hi"}]})
    authorization = '-H "Authorization: Bearer $TOKEN"'
    kind = "-H 'Content-Type: application/json'"
    return base, f"curl {shlex.quote(f'{base}/chat/completions')} {authorization} {kind} -d {shlex.quote(body)}"


def _kind(token: SessionToken) -> str:
    return "Session token" if token.token_id == SESSION_ID else f"API key {token.token_id}"


def _book(session: Session) -> TokenBook:
    return TokenBook(session.configuration.directory / "tokens.json")


def _expiry(milliseconds: int) -> str:
    return local_time(milliseconds // 1000) if milliseconds else "never"
