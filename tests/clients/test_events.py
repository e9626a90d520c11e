# SPDX-License-Identifier: Apache-2.0
"""Events: in order and once each, with a node that fails and a chain that is reorganised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.transport import InProcessTransport, RpcCall, TransientFailure, Transport
from serving_network.clients import AsyncNetwork, AsyncUser
from serving_network.clients.read.events import Event
from serving_network.errors import RpcError
from serving_network.localchain import EmbeddedChain
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World, signer


def test_past_events_name_what_happened(world: World) -> None:
    start = world.connection.block_number() + 1
    world.with_account(10 * COIN, 2 * COIN)
    emitted = world.user.past_events(from_block=start)
    assert [one.name for one in emitted] == [
        "ProviderStaked",
        "ServiceUpdated",
        "ProviderTEESignerAcknowledged",
        "LedgerCreated",
        "Deposited",
        "FundsTransferred",
        "BalanceUpdated",
    ]
    about = world.user.past_events(from_block=start, involving=world.user.address)
    assert [one.name for one in about] == ["LedgerCreated", "Deposited", "FundsTransferred", "BalanceUpdated"]


class ShakyTransport:
    """A transport that fails repeatedly, and answers only for few blocks at once."""

    where = "a shaky node"
    blocks_at_once = 3

    def __init__(self, chain: EmbeddedChain) -> None:
        self._inner = InProcessTransport(chain)
        self._asked = 0

    async def ask(self, calls: list[RpcCall]) -> list[Any | RpcError]:
        self._asked += 1
        if self._asked > 20 and self._asked % 40 < 12:
            raise TransientFailure("the connection was reset")
        for method, params in calls:
            if method == "eth_getLogs" and _blocks(params[0]) > self.blocks_at_once:
                return [RpcError(-32000, "block range too large")]
        return await self._inner.ask(calls)

    async def close(self) -> None:
        """Does nothing: there is no connection."""


def _blocks(asked: dict[str, str]) -> int:
    return int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) + 1


Step = Callable[[AsyncUser], Awaitable[object]]


def follow(world: World, transport: Transport, start: int, steps: dict[int, Step], wanted: int) -> list[Event]:
    """The first `wanted` events; a step is taken when so many events were yielded."""

    async def run() -> list[Event]:
        stranger = AsyncUser(await AsyncConnection.open(world.chain), signer(5))
        connection = AsyncConnection([transport], 31337, attempts=2)
        found: list[Event] = []
        async with asyncio.timeout(600):
            await steps[0](stranger)
            async for event in AsyncNetwork(connection).events(from_block=start, every=0.01):
                found.append(event)
                if len(found) == wanted:
                    break
                if len(found) in steps:
                    await steps[len(found)](stranger)
        return found

    return asyncio.run(run())


def test_a_stream_has_no_gaps_and_no_duplicates_on_a_flaky_node(world: World) -> None:
    start = world.connection.block_number() + 1
    amounts = iter(range(12))

    async def send_two(stranger: AsyncUser) -> None:
        await stranger.deposit(3 * COIN + next(amounts))
        await stranger.deposit(3 * COIN + next(amounts))

    transport = ShakyTransport(world.chain)
    emitted = follow(world, transport, start, dict.fromkeys((0, 3, 5, 7, 9, 11), send_two), 13)
    assert [one.name for one in emitted] == ["LedgerCreated", *["Deposited"] * 12]
    assert [one.args["amount"] for one in emitted[1:]] == [3 * COIN + amount for amount in range(12)]
    assert len({(one.block_hash, one.log_index) for one in emitted}) == 13


def test_events_of_undone_blocks_are_yielded_again_as_removed(world: World) -> None:
    start = world.connection.block_number() + 1
    snapshots: list[Any] = []

    async def first(stranger: AsyncUser) -> None:
        await stranger.deposit(3 * COIN)
        snapshots.append(world.chain.request("evm_snapshot", []))

    async def undone(stranger: AsyncUser) -> None:
        await stranger.deposit(7)

    async def otherwise(stranger: AsyncUser) -> None:
        world.chain.request("evm_revert", [snapshots[0]])
        await stranger.deposit(8)
        await stranger.deposit(9)

    emitted = follow(world, InProcessTransport(world.chain), start, {0: first, 2: undone, 3: otherwise}, 6)
    amounts = [(one.args.get("amount"), one.removed) for one in emitted if one.name == "Deposited"]
    assert amounts == [(3 * COIN, False), (7, False), (7, True), (8, False), (9, False)]
