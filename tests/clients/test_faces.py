# SPDX-License-Identifier: Apache-2.0
"""Sync and async clients: each looks like what it is, and the wrong one says so."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
from typing import Any, cast

import pytest

from serving_network.chain.connection import AsyncConnection, Connection
from serving_network.clients import AsyncOwner, AsyncProvider, AsyncUser, Owner, Provider, User
from serving_network.clients.settled import SettledReader
from serving_network.contracts import UnencodableArguments
from serving_network.errors import InvalidInput, NotAnAddress, NotAnAmount, ServingError
from serving_network.money import WEI_PER_COIN as COIN
from serving_network.networks import parse_address
from serving_network.testing import LocalNetwork
from tests.clients.network_fixture import World


def test_a_sync_method_has_the_signature_and_documentation_of_the_async_one(world: World) -> None:
    bound = inspect.signature(world.user.fund)
    assert list(bound.parameters) == ["provider", "amount", "service", "even_unregistered"]
    assert list(inspect.signature(User.fund).parameters)[1:] == list(bound.parameters)
    assert bound.return_annotation == "Receipt"
    assert not inspect.iscoroutinefunction(User.fund)
    assert User.fund.__doc__ == AsyncUser.fund.__doc__
    assert inspect.signature(User.events).return_annotation == "Iterator[Event]"
    assert (
        list(inspect.signature(world.user.events).parameters)
        == list(inspect.signature(AsyncUser.events).parameters)[1:]
    )
    assert "fund(self, provider: 'str', amount: 'int'" in pydoc.plain(pydoc.render_doc(User))


def test_the_wrong_connection_is_named(world: World) -> None:
    signer = world.network.signer(3)
    with pytest.raises(InvalidInput, match="AsyncUser takes an async connection, not this Connection") as sync:
        AsyncUser(cast("Any", world.connection), signer)
    assert sync.value.next_step == "Use User."
    with pytest.raises(InvalidInput, match="User takes a sync connection") as other:
        User(cast("Any", world.connection.core), signer)
    assert other.value.next_step == "Use AsyncUser."


def test_a_sync_client_in_an_event_loop_names_the_async_one(world: World) -> None:
    async def inside() -> None:
        world.user.ledger(world.user.address)

    with pytest.raises(InvalidInput, match="User was used inside a running event loop") as failure:
        asyncio.run(inside())
    assert failure.value.next_step == "Use AsyncUser and await its methods."

    async def opens() -> None:
        with Connection.open(world.connection.where):
            pass

    with pytest.raises(InvalidInput, match="Connection was opened inside a running event loop") as opened:
        asyncio.run(opens())
    assert opened.value.next_step == "Use await AsyncConnection.open(...)."


def test_a_url_in_place_of_a_connection_and_a_key_in_place_of_a_signer(world: World) -> None:
    signer, key = world.network.signer(3), "0x" + "5e" * 32
    for client, opening in ((User, "Connection.open"), (AsyncUser, "await AsyncConnection.open")):
        with pytest.raises(InvalidInput, match="takes a connection, not this str") as no_connection:
            client(cast("Any", "http://127.0.0.1:8545"), signer)
        assert opening in str(no_connection.value.next_step)
    for signs in (key, bytes.fromhex(key[2:]), None):
        with pytest.raises(InvalidInput, match="User takes a signer, not this") as no_signer:
            User(world.connection, cast("Any", signs))
        assert "LocalSigner(key)" in str(no_signer.value.next_step)
        assert "5e5e" not in repr(no_signer.value)


@pytest.mark.parametrize(
    ("provider", "cause"),
    [
        ("0x123", "It is not 0x and 40 hexadecimal digits."),
        ("good-provider", "It is not 0x and 40 hexadecimal digits."),
        ("0x70997970C51812dc3A010C7d01b50e0d17dc79c8", "Its checksum is wrong."),
        (None, "It is not 0x and 40 hexadecimal digits."),
    ],
)
def test_an_invalid_address_is_named_with_its_argument(world: World, provider: Any, cause: str) -> None:
    user = world.user
    for act in (
        lambda: user.fund(provider, COIN),
        lambda: user.account(user.address, provider),
        lambda: user.check_funding(provider, COIN),
        lambda: user.offer(provider),
        lambda: world.owner.confirm(provider),
    ):
        with pytest.raises(UnencodableArguments) as refused:
            act()
        assert str(refused.value).startswith(f"{provider!r} is not an address, which get")
        assert (refused.value.cause, refused.value.next_step) == (cause, "Pass an address as provider.")


def test_an_invalid_address_is_a_failure_of_this_package_everywhere(world: World) -> None:
    for act in (
        lambda: world.user.balances("0x123"),
        lambda: world.user.retrieve(["0x123"]),
        lambda: world.user.openai("0x123"),
        lambda: User(world.connection, world.network.signer(3), "0x123"),
    ):
        with pytest.raises(NotAnAddress, match="'0x123' is not an address"):
            act()


def test_a_key_that_is_passed_as_an_address_is_not_shown(world: World) -> None:
    key = "5e" * 32
    for act in (lambda: world.user.balances("0x" + key), lambda: world.user.offer(key), lambda: parse_address(key)):
        with pytest.raises(ServingError, match="64 hexadecimal digits") as refused:
            act()
        assert "5e5e" not in str(refused.value)


def test_a_provider_in_lower_case_is_the_same_provider(world: World) -> None:
    world.provider.register(world.offer())
    world.user.open_ledger(5 * COIN)
    world.user.fund(world.provider.address, 2 * COIN)
    assert world.user.retrieve([world.provider.address.lower()])


def test_one_address_in_place_of_a_list_is_named(world: World) -> None:
    address, contract = world.user.address, world.user.service().contract
    core = world.connection.core
    for act in (
        lambda: world.user.retrieve(address),
        lambda: world.user.accounts_with(world.provider.address, address),
        lambda: world.connection.logs(address, from_block=0, to_block=1),
        lambda: world.connection.run(lambda: SettledReader(core, contract, address).of_users(address, 0)),
    ):
        with pytest.raises(InvalidInput, match=f"'{address}' stands in place of a list of addresses") as refused:
            act()
        assert not isinstance(refused.value, NotAnAddress)
        assert refused.value.next_step == "Pass a list, also for one address."
    with pytest.raises(InvalidInput, match="7 stands in place of a list of token ids"):
        world.user.revoke_tokens(world.provider.address, cast("Any", 7))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_connection_that_was_not_awaited_is_named(world: World) -> None:
    signer = world.network.signer(3)
    for client, takes, opening in (
        (User, "sync connection", "Connection.open(url)"),
        (AsyncUser, "open connection", "await AsyncConnection.open(url)"),
    ):
        opened: Any = AsyncConnection.open("http://127.0.0.1:8545")
        with pytest.raises(InvalidInput, match=f"{client.__name__} takes an? {takes}, not this coroutine") as refused:
            client(opened, signer)
        assert opening in str(refused.value.next_step)
        opened.close()


def test_a_sync_client_takes_every_option_of_the_async_one(world: World) -> None:
    for sync, other in ((User, AsyncUser), (Provider, AsyncProvider), (Owner, AsyncOwner)):
        assert list(inspect.signature(sync).parameters)[1:] == list(inspect.signature(other).parameters)[1:]
    user = User(world.connection, world.network.signer(3), gas=321_000)
    sent = world.connection.run(lambda: world.connection.core.transaction(user.open_ledger(3 * COIN).transaction_hash))
    assert sent is not None
    assert int(sent["gas"], 16) == 321_000


@pytest.mark.parametrize("amount", [0.5, 3.0, "3", None, True, -1, 2**256])
def test_an_amount_that_is_no_number_of_wei(world: World, amount: Any) -> None:
    for act in (
        world.user.open_ledger,
        world.user.deposit,
        world.user.withdraw,
        lambda wei: world.user.fund(world.provider.address, wei, even_unregistered=True),
        lambda wei: world.user.check_funding(world.provider.address, wei),
        lambda wei: world.user.top_up(world.provider.address, 0, wei),
    ):
        with pytest.raises(NotAnAmount, match="is not an amount in wei") as failure:
            act(amount)
        assert "parse_wei" in str(failure.value.next_step)
    if amount is not None:
        with pytest.raises(NotAnAmount):
            world.provider.register(world.offer(), stake=amount)
    assert world.user.ledger(world.user.address) is None
    assert world.user.open_ledger(3 * COIN).succeeded


def test_a_closed_connection_is_named_and_closed_twice_without_harm(world: World) -> None:
    connection = Connection.open(world.network.chain)
    user = User(connection, LocalNetwork.signer(0))
    with connection:
        connection.close()
    with pytest.raises(InvalidInput, match="User was used after the connection was closed") as failure:
        user.ledger(user.address)
    assert failure.value.next_step == "Open a new one: Connection.open(url)."
