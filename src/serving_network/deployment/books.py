# SPDX-License-Identifier: Apache-2.0
"""The books of a whole network at one block: what every contract holds against what it owes.

    coins of the ledger   >= sum of availableBalance
    coins of a service    >= sum of its account balances + sum of its providers' stakes
    sum of totalBalance   == sum of availableBalance + sum of all account balances

More than owed is possible (coins can be forced into a contract) and harmless; less is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_utils import keccak, to_canonical_address

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.node import block_parameter, from_word
from serving_network.chain.pages import every_entry
from serving_network.contracts import load
from serving_network.deployment.layout import Layout
from serving_network.deployment.record import Contract, Record
from serving_network.errors import RpcError
from serving_network.money import describe

PROVIDER_WORDS = "services._words"


@dataclass(frozen=True)
class ServiceBooks:
    """One service version, all amounts in wei. `users` are those who have an account."""

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


@dataclass(frozen=True)
class Books:
    """All contracts at `block`, amounts in wei; `total` is what the ledger says that all users have."""

    block: int
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
        """Every rule that is broken, in words; empty when the books balance."""
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


async def read_books(
    chain: AsyncConnection,
    record: Record,
    block: int | None = None,
    layouts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Books:
    """Add up everything as it is at `block`, by default the newest.

    Stakes have no getter on the wire: they are read from storage, by the layout in the record, or by the one in
    `layouts` for a contract whose code has just been replaced. Raises KeyError when a layout has no such words.
    """
    at = await chain.block_number() if block is None else block
    ledgers = await read_all(chain, "LedgerManager", record.ledger.front.address, "getAllLedgers", at)
    services = tuple(
        [
            await _service_books(
                chain, name, service, at, (layouts or {}).get(name, service.implementation.storage_layout)
            )
            for name, service in record.services.items()
        ]
    )
    return Books(
        block=at,
        ledger_holds=await chain.balance(record.ledger.front.address, at),
        available=sum(one["availableBalance"] for one in ledgers),
        total=sum(one["totalBalance"] for one in ledgers),
        ledgers=len(ledgers),
        services=services,
    )


async def read_all(
    chain: AsyncConnection, contract: str, address: str, getter: str, block: int | str, *arguments: Any
) -> list[Any]:
    """Every entry of a paged listing `getter(*arguments, offset, limit)`. Raises NodeFailure for half a listing."""
    interface = load(contract).interface

    async def ask(offset: int, limit: int) -> tuple[list[Any], int]:
        data = interface.encode(getter, *arguments, offset, limit)
        page, total = interface.decode_result(getter, await chain.call(address, data, block=block))
        return page, total

    return await every_entry(getter, ask)


async def read_providers(chain: AsyncConnection, service: Contract, block: int | str) -> list[dict[str, Any]]:
    """Every provider of a service, as its listing shows it."""
    getter = "getServices" if service.implementation.contract == "FineTuningServing" else "getAllServices"
    return await read_all(chain, service.implementation.contract, service.front.address, getter, block)


async def _service_books(
    chain: AsyncConnection, name: str, service: Contract, block: int, layout: Mapping[str, Any]
) -> ServiceBooks:
    contract, address = service.implementation.contract, service.front.address
    accounts = await read_all(chain, contract, address, "getAllAccounts", block)
    providers = tuple([one["provider"] for one in await read_providers(chain, service, block)])
    return ServiceBooks(
        name=name,
        address=address,
        holds=await chain.balance(address, block),
        owed_to_users=sum(one["balance"] for one in accounts),
        stakes=sum(await _stakes(chain, address, providers, block, Layout.from_artifact(layout))),
        accounts=len(accounts),
        users=frozenset(one["user"] for one in accounts),
        providers=providers,
    )


async def _stakes(
    chain: AsyncConnection, address: str, providers: tuple[str, ...], block: int, layout: Layout
) -> list[int]:
    slot = next((one.slot for one in layout.variables if one.name == PROVIDER_WORDS), None)
    if slot is None:
        raise KeyError(f"the layout has no {PROVIDER_WORDS}")
    questions: list[tuple[str, list[Any]]] = [
        ("eth_getStorageAt", [address, mapping_slot(slot, provider), block_parameter(block)]) for provider in providers
    ]
    answers = await chain.batch(questions)
    for answer in answers:
        if isinstance(answer, RpcError):
            raise answer
    return [_bits(layout, PROVIDER_WORDS, "stake", from_word(answer)) for answer in answers]


def mapping_slot(slot: int, key: str) -> str:
    """Where a mapping from addresses that is declared at `slot` keeps the value of `key`."""
    return "0x" + keccak(slot.to_bytes(32) + to_canonical_address(key).rjust(32, b"\0")).hex()


def _bits(layout: Layout, word: str, field: str, value: int) -> int:
    low = 0
    for name, bits in layout.packed[word]:
        if name == field:
            return value >> low & (1 << bits) - 1
        low += bits
    raise KeyError(f"{word} declares no {field}")
