# SPDX-License-Identifier: Apache-2.0
"""The books: nothing that a contract holds or owes is omitted, counted twice, or read at another block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serving_network.chain.connection import AsyncConnection
from serving_network.clients.read.books import BookLine, deployment_block, network_books
from serving_network.clients.read.network import AsyncNetwork
from serving_network.errors import RpcError

BLOCK = 77
Event = tuple[str, int]
"""Name and amount."""


class Interface:
    """Events whose topics and logs are their names and amounts."""

    def topic(self, name: str) -> bytes:
        return name.encode()

    def decode_log(self, log: Event | None) -> Any:
        return None if log is None else SimpleNamespace(name=log[0], args={"amount": log[1]})


@dataclass
class Contract:
    """A contract with entries of one list and events, as of one block only."""

    address: str
    lists: dict[str, list[dict[str, Any]]]
    events: list[Event | None] = field(default_factory=list)
    held: int = 0
    deployed: int = 0

    interface = Interface()
    name = "InferenceServing"

    async def listing(self, function: str, *, block: int) -> list[dict[str, Any]]:
        assert block == BLOCK
        return self.lists[function]

    async def pages(self, function: str, *, block: int, **_: int) -> AsyncIterator[list[dict[str, Any]]]:
        yield await self.listing(function, block=block)


class Chain:
    """Balances and events of some contracts. Of states before `oldest` it knows nothing."""

    def __init__(self, contracts: list[Contract], oldest: int = 0) -> None:
        self._contracts = {contract.address: contract for contract in contracts}
        self._oldest = oldest
        self.asked: list[int] = []

    async def code(self, address: str, block: int) -> bytes:
        self.asked.append(block)
        if block < self._oldest:
            raise RpcError(-32000, "missing trie node")
        return b"\x60" if block >= self._contracts[address].deployed else b""

    async def block_number(self) -> int:
        return BLOCK

    async def balance(self, address: str, block: int) -> int:
        assert block == BLOCK
        return self._contracts[address].held

    async def logs(
        self, addresses: list[str], *, topics: Sequence[list[str]], from_block: int, to_block: int
    ) -> list[Event | None]:
        assert (from_block, to_block) == (self._contracts[addresses[0]].deployed, BLOCK)
        wanted = {bytes.fromhex(topic[2:]).decode() for topic in topics[0] if topic.startswith("0x")}
        return [log for one in addresses for log in self._contracts[one].events if log is None or log[0] in wanted]


def books_of(ledger: Contract, services: dict[str, Contract]) -> list[BookLine]:
    async def listed() -> list[Any]:
        return [SimpleNamespace(name=name, contract=contract) for name, contract in services.items()]

    chain = Chain([ledger, *services.values()])
    network = SimpleNamespace(chain=chain, ledger_contract=ledger, services=listed)
    return asyncio.run(network_books(cast("AsyncNetwork", network))).lines


def ledger_with(*available: int, held: int = 0) -> Contract:
    entries = [{"availableBalance": amount, "totalBalance": 10**6} for amount in available]
    return Contract("0xledger", {"getAllLedgers": entries}, held=held)


def test_the_ledger_owes_what_its_users_have_available() -> None:
    assert books_of(ledger_with(4, 0, 5, held=8), {}) == [BookLine("ledger", "0xledger", 8, {"available": 9})]
    assert books_of(ledger_with(), {}) == [BookLine("ledger", "0xledger", 0, {"available": 0})]


def test_a_service_owes_its_accounts_and_the_stakes_that_were_not_returned() -> None:
    first = Contract(
        "0xa",
        {"getAllAccounts": [{"balance": 4, "user": "u"}, {"balance": 6, "user": "v"}], "getAllServices": []},
        [("ProviderStaked", 100), ("ProviderStaked", 30), ("BalanceUpdated", 9), ("ProviderStakeReturned", 100), None],
        held=41,
        deployed=30,
    )
    second = Contract("0xb", {"getAllAccounts": [], "getAllServices": []}, [("ProviderStaked", 7)], held=7, deployed=77)
    lines = books_of(ledger_with(held=1), {"inference": first, "fine-tuning": second})
    assert lines[1:] == [
        BookLine("inference", "0xa", 41, {"accounts": 10, "stakes": 30}),
        BookLine("fine-tuning", "0xb", 7, {"accounts": 0, "stakes": 7}),
    ]
    assert [line.surplus for line in lines] == [1, 1, 0]


@pytest.mark.parametrize("deployed", range(BLOCK + 1))
def test_the_block_of_the_deployment_is_found(deployed: int) -> None:
    chain = Chain([Contract("0xa", {}, deployed=deployed)])
    assert asyncio.run(deployment_block(cast("AsyncConnection", chain), "0xa")) == deployed
    assert len(chain.asked) <= 7


@pytest.mark.parametrize(
    ("deployed", "oldest", "found"),
    [(40, 39, 40), (40, 40, 0), (40, 41, 0), (40, 70, 0), (77, 76, 77), (77, 77, 0), (0, 1, 0)],
)
def test_a_node_without_old_states_is_not_taken_at_its_oldest_block(deployed: int, oldest: int, found: int) -> None:
    chain = Chain([Contract("0xa", {}, deployed=deployed)], oldest)
    assert asyncio.run(deployment_block(cast("AsyncConnection", chain), "0xa")) == found


@pytest.mark.parametrize(("held", "surplus"), [(10, 0), (11, 1), (9, -1), (0, -10)])
def test_a_surplus_is_what_is_held_beyond_all_that_is_owed(held: int, surplus: int) -> None:
    assert BookLine("ledger", "0x", held, {"a": 4, "b": 6}).surplus == surplus
