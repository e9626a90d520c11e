# SPDX-License-Identifier: Apache-2.0
"""Session tokens: created by the user, checked by the provider, invalid once revoked."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from serving_network.chain.connection import AsyncConnection
from serving_network.clients import AsyncUser
from serving_network.contracts.errors import AccountNotExists
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.messages.session_tokens import DAY_MS, InvalidToken, TokenBook, new_token, read_token, sign_token
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World, signer


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def book(tmp_path: Path) -> TokenBook:
    return TokenBook(tmp_path / "tokens.json")


def test_a_session_has_the_format_of_live_providers(world: World) -> None:
    world.with_account()
    header = world.user.make_session(world.provider.address)
    assert header.startswith("Bearer app-sk-")
    message, _, signature = base64.b64decode(header.removeprefix("Bearer app-sk-")).decode().partition("|")
    content = json.loads(message)
    assert list(content) == ["address", "provider", "timestamp", "expiresAt", "nonce", "generation", "tokenId"]
    assert content["expiresAt"] - content["timestamp"] == DAY_MS
    assert content["tokenId"] == 255
    signable = encode_defunct(keccak(text=message))
    assert Account.recover_message(signable, signature=signature) == world.user.address


def test_the_provider_accepts_a_valid_token(world: World) -> None:
    world.with_account()
    header = world.user.make_session(world.provider.address)
    assert world.provider.check_header(header, now_ms()).address == world.user.address


def test_waiting_for_the_book_does_not_block_the_event_loop(world: World, book: TokenBook) -> None:
    world.with_account()

    async def make() -> list[int]:
        async with await AsyncConnection.open(world.chain) as connection:
            key = next(one for one in map(signer, range(10)) if one.address == world.user.address)
            user = AsyncUser(connection, key)
            with book.locked():
                abandoned = asyncio.create_task(user.make_api_key(world.provider.address, book))
                made = asyncio.create_task(user.make_api_key(world.provider.address, book))
                for _ in range(20):
                    await asyncio.sleep(0.01)
                assert not made.done()
                abandoned.cancel()
            with pytest.raises(asyncio.CancelledError):
                await abandoned
            await made
            return [one.token_id for one in book.issued()]

    assert len(asyncio.run(make())) == 1


def test_a_session_lasts_at_most_a_day(world: World) -> None:
    world.with_account()
    with pytest.raises(InvalidInput):
        world.user.make_session(world.provider.address, lifetime_ms=DAY_MS + 1)
    header = world.user.make_session(world.provider.address)
    with pytest.raises(InvalidToken, match="expired"):
        world.provider.check_header(header, now_ms() + DAY_MS + 1_000)


def test_without_an_account_there_is_no_token(world: World) -> None:
    with pytest.raises(AccountNotExists):
        world.user.make_session(world.provider.address)


def test_ids_in_use_and_revoked_ids_are_not_handed_out(world: World, book: TokenBook) -> None:
    world.with_account()
    whose = world.provider.address
    ids = [read_token(world.user.make_api_key(whose, book))[0].token_id for _ in range(3)]
    assert ids == [0, 1, 2]
    world.user.revoke_tokens(whose, [0, 5])
    world.user.revoke_tokens(whose, [3])
    assert [read_token(world.user.make_api_key(whose, book))[0].token_id for _ in range(2)] == [4, 6]
    for taken in (1, 3, 255):
        with pytest.raises(InvalidInput):
            world.user.make_api_key(whose, book, token_id=taken)


def test_an_expired_id_is_free_again(world: World, book: TokenBook) -> None:
    world.with_account()
    header = world.user.make_api_key(world.provider.address, book, lifetime_ms=1)
    time.sleep(0.01)
    again = world.user.make_api_key(world.provider.address, book)
    assert read_token(header)[0].token_id == read_token(again)[0].token_id == 0


def test_a_key_stays_revoked_after_the_account_is_deleted(world: World, book: TokenBook) -> None:
    world.with_account(10 * COIN, 2 * COIN)
    header = world.user.make_api_key(world.provider.address, book)
    assert world.provider.check_header(header, now_ms()).token_id == 0
    world.user.revoke_tokens(world.provider.address, [0])
    with pytest.raises(InvalidToken, match="revoked"):
        world.provider.check_header(header, now_ms())
    world.user.retrieve()
    world.network.travel(86_400)
    world.user.retrieve()
    world.user.withdraw(10 * COIN)
    with pytest.raises(InvalidToken, match="no account"):
        world.provider.check_header(header, now_ms())
    world.user.open_ledger(10 * COIN)
    world.user.fund(world.provider.address, 2 * COIN)
    with pytest.raises(InvalidToken, match="revoked"):
        world.provider.check_header(header, now_ms())


def test_revoking_all_ends_sessions_and_frees_ids(world: World, book: TokenBook) -> None:
    world.with_account()
    session = world.user.make_session(world.provider.address)
    world.user.make_api_key(world.provider.address, book)
    world.user.revoke_all_tokens(world.provider.address)
    with pytest.raises(InvalidToken, match="generation"):
        world.provider.check_header(session, now_ms())
    token, _ = read_token(world.user.make_api_key(world.provider.address, book))
    assert (token.token_id, token.generation) == (0, 1)


def test_a_token_for_another_provider_or_by_another_signer_is_refused(world: World) -> None:
    world.with_account()
    header = world.user.make_session(world.provider.address)
    with pytest.raises(InvalidToken, match="not for"):
        world.other_provider.check_header(header, now_ms())
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    forged = sign_token(new_token(account, now_ms(), token_id=255, lifetime_ms=DAY_MS), signer(5))
    with pytest.raises(InvalidToken, match="signed it"):
        world.provider.check_header(forged, now_ms())
    long = replace(new_token(account, now_ms(), token_id=255, lifetime_ms=DAY_MS), expires_at=0)
    with pytest.raises(InvalidToken, match="24 hours"):
        world.provider.check_header(sign_token(long, signer(3)), now_ms())


@given(st.one_of(st.text(), st.binary().map(lambda raw: "Bearer app-sk-" + base64.b64encode(raw).decode())))
def test_an_invalid_header_is_refused_with_a_reason(header: str) -> None:
    with pytest.raises(InvalidToken):
        read_token(header)


def test_a_damaged_book_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text("[{]")
    with pytest.raises(ConfigurationError):
        TokenBook(path).issued()
    assert path.read_text() == "[{]"
