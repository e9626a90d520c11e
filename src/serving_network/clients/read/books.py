# SPDX-License-Identifier: Apache-2.0
"""The books of a network: what each contract holds compared with what it owes, all at one block.

    coins of the ledger   >= sum of availableBalance
    coins of a service    >= sum of its account balances + sum of its providers' stakes
    sum of totalBalance   == sum of availableBalance + sum of all account balances

A contract never holds less than it owes, and holds more only if somebody forced coins into it. Contracts have no view
for stakes: without another source they are summed from the events since the contract's deployment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving_network.clients.read.providers import registered_providers
from serving_network.errors import RpcError
from serving_network.money import describe

if TYPE_CHECKING:
    from serving_network.chain.contract import Contract
    from serving_network.chain.reading import AsyncReader
    from serving_network.clients.read.network import AsyncNetwork

Stakes = Callable[["AsyncReader", str, "Contract", tuple[str, ...], int], Awaitable[int]]
"""Returns the stakes in a service in wei. Called with the service's name and contract, its providers and the block."""


@dataclass(frozen=True, slots=True)
class BookLine:
    """One contract's books, in wei: what it holds and what it owes, by item."""

    contract: str
    address: str
    held: int
    owed: dict[str, int]

    @property
    def surplus(self) -> int:
        """What is held beyond what is owed: 0, or more if somebody forced coins in. Never less."""
        return self.held - sum(self.owed.values())


@dataclass(frozen=True, slots=True)
class ServiceBooks:
    """One service, amounts in wei. `users` are those who have an account."""

    name: str
    address: str
    holds: int
    owed_to_users: int
    stakes: int
    accounts: int
    users: frozenset[str]
    providers: tuple[str, ...]

    @property
    def owed(self) -> int:
        return self.owed_to_users + self.stakes


@dataclass(frozen=True, slots=True)
class Books:
    """All contracts at `block`, amounts in wei. `total` is the users' total balance according to the ledger."""

    block: int
    ledger: str
    ledger_holds: int
    available: int
    total: int
    ledgers: int
    services: tuple[ServiceBooks, ...]

    @property
    def in_accounts(self) -> int:
        return sum(one.owed_to_users for one in self.services)

    @property
    def problems(self) -> tuple[str, ...]:
        """Every rule that is broken, as a sentence. Empty if the books balance."""
        found = []
        if self.ledger_holds < self.available:
            found.append(f"the ledger holds {describe(self.ledger_holds)} and owes {describe(self.available)}")
        found += [
            f"{one.name} holds {describe(one.holds)} and owes {describe(one.owed)}"
            for one in self.services
            if one.holds < one.owed
        ]
        if self.total != self.available + self.in_accounts:
            found.append(
                f"users have {describe(self.total)} in total, but {describe(self.available)} available and "
                f"{describe(self.in_accounts)} in accounts"
            )
        return tuple(found)

    @property
    def lines(self) -> list[BookLine]:
        """One line for the ledger and one for each service."""
        return [
            BookLine("ledger", self.ledger, self.ledger_holds, {"available": self.available}),
            *(
                BookLine(one.name, one.address, one.holds, {"accounts": one.owed_to_users, "stakes": one.stakes})
                for one in self.services
            ),
        ]


async def network_books(network: AsyncNetwork) -> Books:
    """The books of the ledger and every service that is registered with it, at the newest block."""
    services = {service.name: service.contract for service in await network.services()}
    return await read_books(network.chain, network.ledger_contract, services)


async def read_books(
    chain: AsyncReader,
    ledger: Contract,
    services: Mapping[str, Contract],
    *,
    block: int | None = None,
    stakes: Stakes | None = None,
) -> Books:
    """The books of a ledger and of services by name, at `block`, by default the newest.

    Without `stakes` the stakes are summed from events, for which the node must keep them.
    """
    at = await chain.block_number() if block is None else block
    ledgers, held, of_services = await asyncio.gather(
        ledger.listing("getAllLedgers", block=at),
        chain.balance(ledger.address, at),
        asyncio.gather(
            *(
                _service_books(chain, name, contract, at, stakes or stakes_from_events)
                for name, contract in services.items()
            )
        ),
    )
    return Books(
        block=at,
        ledger=ledger.address,
        ledger_holds=held,
        available=sum(one["availableBalance"] for one in ledgers),
        total=sum(one["totalBalance"] for one in ledgers),
        ledgers=len(ledgers),
        services=tuple(of_services),
    )


async def _service_books(chain: AsyncReader, name: str, contract: Contract, block: int, stakes: Stakes) -> ServiceBooks:
    accounts, held, registered = await asyncio.gather(
        contract.listing("getAllAccounts", block=block),
        chain.balance(contract.address, block),
        registered_providers(contract, block=block),
    )
    providers = tuple(one["provider"] for one in registered)
    return ServiceBooks(
        name=name,
        address=contract.address,
        holds=held,
        owed_to_users=sum(one["balance"] for one in accounts),
        stakes=await stakes(chain, name, contract, providers, block),
        accounts=len(accounts),
        users=frozenset(one["user"] for one in accounts),
        providers=providers,
    )


async def stakes_from_events(
    chain: AsyncReader, _name: str, contract: Contract, _providers: tuple[str, ...], block: int
) -> int:
    """The stakes that were deposited and not returned, in wei."""
    first = await deployment_block(chain, contract.address)
    topics = ["0x" + contract.interface.topic(name).hex() for name in ("ProviderStaked", "ProviderStakeReturned")]
    logs = await chain.logs([contract.address], topics=[topics], from_block=first, to_block=block)
    total = 0
    for log in logs:
        event = contract.interface.decode_log(log)
        if event is not None:
            total += event.args["amount"] if event.name == "ProviderStaked" else -event.args["amount"]
    return total


async def deployment_block(chain: AsyncReader, address: str) -> int:
    """The block in which a contract was deployed, or an earlier one if the node cannot report it.

    Found by bisection over the code at the address. A node that has pruned old states returns errors for them. The
    result is then 0, unless a block that it still serves shows that the contract was deployed later.
    """
    without, unknown, present = -1, -1, await chain.block_number()
    while present - max(without, unknown) > 1:
        middle = (max(without, unknown) + present) // 2
        try:
            code = await chain.code(address, middle)
        except RpcError:
            unknown = middle
        else:
            if code:
                present = middle
            else:
                without = middle
    return present if without >= unknown else 0
