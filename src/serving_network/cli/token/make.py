"""`serving token make`"""

from __future__ import annotations

from typing import Annotated

import typer

from serving_network.cli.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, reads
from serving_network.clients.user import AsyncUser
from serving_network.errors import InvalidInput
from serving_network.messages.session_tokens import DAY_MS, TokenBook

HOUR_MS = 60 * 60 * 1000


@reads
async def make(
    session: Session,
    provider: PROVIDER,
    hours: Annotated[int | None, typer.Option(min=1, max=24, help="A session of so many hours; 24 by default.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="An API key for so many days, revocable by itself.")] = None,
    forever: Annotated[bool, typer.Option("--forever", help="An API key that does not expire.")] = False,
    token_id: Annotated[int | None, typer.Option("--id", min=0, max=254, help="The API key's id; a free one.")] = None,
    service: INFERENCE_SERVICE = "inference",
) -> None:
    """Make a token with which you ask a provider's server. Nothing is sent to the chain.

    Prints the value of the Authorization header. Whoever has it can spend your balance with this provider.

    Example: serving token make good-provider --days 30
    """
    if (hours is not None) + (days is not None) + forever > 1:
        raise InvalidInput("Choose one of --hours, --days and --forever.", next_step="serving token make --help")
    user = await session.act(AsyncUser)
    whose = session.address(provider)
    if days is None and not forever and token_id is None:
        header = await user.make_session(whose, service, lifetime_ms=hours * HOUR_MS if hours else DAY_MS)
    else:
        lifetime_ms = 0 if forever else days * DAY_MS if days else (hours or 24) * HOUR_MS
        book = TokenBook(session.configuration.directory / "tokens.json")
        header = await user.make_api_key(whose, book, service, lifetime_ms=lifetime_ms, token_id=token_id)
    session.out.result({"authorization": header})
    session.out.line(header)
