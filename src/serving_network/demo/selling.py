# SPDX-License-Identifier: Apache-2.0
"""A gateway on a local network: a provider that is registered and confirmed, and a user who can pay it.

Account 0 owns the contracts, account 1 is the provider, account 2 the user; account 9 is the key of the provider's TEE.
These keys are public, so this is for a chain on one's own machine only.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.owner import AsyncOwner
from serving_network.clients.provider import AsyncProvider
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.user import AsyncUser
from serving_network.contracts.models import Offer
from serving_network.demo.model_server import MODEL, model_server
from serving_network.errors import InvalidInput
from serving_network.gateway.running import running
from serving_network.gateway.settings import Settings
from serving_network.localchain.accounts import development_keys
from serving_network.messages.session_tokens import DAY_MS, SESSION_ID, new_token, sign_token
from serving_network.money import WEI_PER_COIN
from serving_network.wallet.local import LocalSigner, LocalTeeSigner

OWNER, PROVIDER, USER, TEE = 0, 1, 2, 9
DEPOSIT: Final = 10 * WEI_PER_COIN
FUNDS: Final = 5 * WEI_PER_COIN
INPUT_PRICE: Final = 10**12
OUTPUT_PRICE: Final = 4 * 10**12
STORE_NAME: Final = "provider.journal"
_ANSWER_SECONDS: Final = 10


@dataclass(frozen=True)
class LocalGateway:
    """What a client needs to talk to the gateway. `stands_in`: no model answers, only a stand-in for one."""

    url: str
    model: str
    api_key: str
    provider: str
    user: str
    store: Path
    stands_in: bool


@asynccontextmanager
async def local_gateway(
    url: str, port: int, state: Path | None = None, upstream: str | None = None
) -> AsyncIterator[LocalGateway]:
    """Sell the model of `upstream`, or of a stand-in, on the local network at `url` while the block runs.

    The store is in `state`, or temporary.
    """
    async with AsyncExitStack() as held:
        directory = state or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="serving-")))
        if upstream is None:
            model, server = MODEL, await held.enter_async_context(model_server())
        else:
            model, server = await _model_of(upstream), upstream
        connection = await held.enter_async_context(await AsyncConnection.open(url))
        tee = LocalTeeSigner(development_keys()[TEE].to_bytes())
        offer = Offer(
            service_type="chatbot",
            url=f"http://127.0.0.1:{port}",
            model=model,
            verifiability="TeeML",
            input_price=INPUT_PRICE,
            output_price=OUTPUT_PRICE,
            additional_info="{}",
            tee_signer=tee.address,  # type: ignore[arg-type]
        )
        provider = await _offer(connection, offer)
        user, token = await _fund(connection, provider)
        store = directory / STORE_NAME
        started = await held.enter_async_context(
            running(Settings(provider, server, port=port), AsyncNetwork(connection), tee, store, stop_seconds=1.0)
        )
        yield LocalGateway(
            started.url, model, token.removeprefix("Bearer "), provider, user, store, stands_in=upstream is None
        )


async def _offer(connection: AsyncConnection, offer: Offer) -> str:
    """Register what is offered, and confirm its signer, unless that is done. Returns the provider."""
    provider = AsyncProvider(connection, _signer(PROVIDER))
    found = await provider.offer(provider.address)
    if found is None:
        await provider.register(offer)
    elif found.offer != offer:
        await provider.update(offer)
    found = await provider.offer(provider.address)
    if found is None or not found.confirmed:
        await AsyncOwner(connection, _signer(OWNER)).confirm(provider.address)
    return provider.address


async def _fund(connection: AsyncConnection, provider: str) -> tuple[str, str]:
    """Fund the user's account with the provider, unless there is one. Returns the user and a session token."""
    user = AsyncUser(connection, _signer(USER))
    if await user.ledger(user.address) is None:
        await user.open_ledger(DEPOSIT)
    account = await user.account(user.address, provider)
    if account is None:
        await user.fund(provider, FUNDS)
        account = await user.account(user.address, provider)
    if account is None:
        raise InvalidInput(f"{user.address} has no account with {provider}.")
    token = new_token(account, int(time.time() * 1000), token_id=SESSION_ID, lifetime_ms=DAY_MS)
    return user.address, sign_token(token, _signer(USER))


async def _model_of(upstream: str) -> str:
    """The first model that a model server lists. Raises InvalidInput."""
    where = f"{upstream.rstrip('/')}/models"
    try:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http, http.get(where) as answer:
            listed: Any = await answer.json(content_type=None)
        return str(listed["data"][0]["id"])
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InvalidInput(
            f"The model server does not list its models at {where}.",
            next_step="Start it, and give its base URL with /v1: --upstream http://127.0.0.1:8000/v1",
        ) from error


def _signer(number: int) -> LocalSigner:
    return LocalSigner(development_keys()[number].to_bytes())
