# SPDX-License-Identifier: Apache-2.0
"""Sync and async clients: each looks like what it is, and the wrong one says so."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
from typing import Any, cast

import pytest

from serving_network.clients import AsyncUser, User
from serving_network.errors import InvalidInput, NotAnAmount
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World


def test_a_sync_method_has_the_signature_and_documentation_of_the_async_one(world: World) -> None:
    bound = inspect.signature(world.user.fund)
    assert list(bound.parameters) == ["provider", "amount", "service", "even_unregistered"]
    assert list(inspect.signature(User.fund).parameters)[1:] == list(bound.parameters)
    assert bound.return_annotation == "Receipt"
    assert not inspect.iscoroutinefunction(User.fund)
    assert User.fund.__doc__ == AsyncUser.fund.__doc__
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
