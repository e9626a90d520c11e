"""`serving token check`"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE
from serving_network.cli.context import Session, reads
from serving_network.cli.times import moment
from serving_network.messages.session_tokens import SESSION_ID, check_token, read_token


@reads
async def check(
    session: Session,
    provider: Annotated[str | None, typer.Option(help="Who is asked; by default the key in use.")] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """For the provider: read an Authorization header from standard input and check it against the chain.

    Example: serving token check < header.txt
    """
    whose = session.address(provider) if provider else session.own_address()
    token, signer = read_token(sys.stdin.readline())
    network = await session.reader()
    account = await network.account(token.address, whose, service)
    check_token(token, signer, whose, account, time.time_ns() // 1_000_000)
    session.out.result(asdict(token))
    session.out.facts(
        {
            "user": session.name(token.address),
            "token": "a session" if token.token_id == SESSION_ID else f"API key {token.token_id}",
            "expires": moment(token.expires_at // 1000) if token.expires_at else "never",
        }
    )
