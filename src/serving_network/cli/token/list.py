"""`serving token list`"""

from __future__ import annotations

import time
from dataclasses import asdict

from serving_network.cli.arguments import INFERENCE_SERVICE, PROVIDER
from serving_network.cli.context import Session, reads
from serving_network.cli.times import moment
from serving_network.contracts.errors import AccountNotExists
from serving_network.messages.session_tokens import SESSION_ID, TokenBook


@reads
async def list_tokens(session: Session, provider: PROVIDER, service: INFERENCE_SERVICE = "inference") -> None:
    """List the API keys that were made here for a provider, and every id that is revoked on the chain.

    Example: serving token list good-provider
    """
    network = await session.reader()
    whose = session.address(provider)
    account = await network.account(session.own_address(), whose, service)
    if account is None:
        raise AccountNotExists(user=session.own_address(), provider=whose)
    book = TokenBook(session.configuration.directory / "tokens.json")
    live = book.in_use(network.chain.chain_id, account, time.time_ns() // 1_000_000)
    revoked = [number for number in range(SESSION_ID + 1) if account.revoked_bitmap >> number & 1]
    session.out.result(
        {
            "generation": account.generation,
            "in_use": [asdict(one) for one in live.values()],
            "revoked": revoked,
        }
    )
    rows = [
        (
            str(one.token_id),
            "in use",
            moment(one.timestamp // 1000),
            moment(one.expires_at // 1000) if one.expires_at else "never",
        )
        for one in live.values()
    ]
    rows += [(str(number), "revoked", "", "") for number in revoked]
    session.out.table(("id", "state", "made", "expires"), rows, empty="No API key was made here, and none is revoked.")
