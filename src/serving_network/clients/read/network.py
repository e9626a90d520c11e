# SPDX-License-Identifier: Apache-2.0
"""Read the network. No key is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from serving_network.addresses import several, to_checksum_address
from serving_network.chain.blocking import SyncFace, blocking, blocking_iterator
from serving_network.chain.contract import Contract
from serving_network.chain.reading import AsyncReader, Reader
from serving_network.clients.read.events import Event, event_stream, past_events
from serving_network.clients.read.providers import registered_providers
from serving_network.contracts.errors import (
    AccountNotExists,
    LedgerNotExists,
    NoRecommendedService,
    ServiceNotExist,
)
from serving_network.contracts.models import (
    FINE_TUNING,
    INFERENCE,
    ZERO_ADDRESS,
    Account,
    Balances,
    Deliverable,
    Ledger,
    ProviderService,
    ServiceVersion,
    artifact_of,
)
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.errors import ContractError, InvalidInput, UnknownName
from serving_network.networks import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from eth_typing import ChecksumAddress

    from serving_network.chain.node import Block
    from serving_network.chain.reading import Target

LOCAL_LEDGER = BUILT_IN["local"].require_ledger()
USERS_PER_REQUEST = {INFERENCE: 500, FINE_TUNING: 50}


@dataclass(frozen=True)
class Service:
    """A service contract that is registered with the ledger. `kind` is "inference" or "fine-tuning"."""

    name: str
    kind: str
    contract: Contract

    @property
    def address(self) -> ChecksumAddress:
        """The address of the service's front."""
        return self.contract.address


def _refuse(given: object, wrong: type[object], takes: str, instead: str) -> None:
    if isinstance(given, wrong):
        raise InvalidInput(f"{takes}, not this {type(given).__name__}.", next_step=instead)


class AsyncNetwork:
    """One serving network: a ledger and its registered services.

    A service is named by its full name ("inference-v1.0") or by its type ("inference"), which stands
    for the recommended version.
    """

    def __init__(self, chain: AsyncReader, ledger: str = LOCAL_LEDGER) -> None:
        name = type(self).__name__
        _refuse(chain, SyncFace, f"{name} takes an async connection", f"Use {name.removeprefix('Async')}.")
        _refuse(chain, Coroutine, f"{name} takes an open connection", "Await it: await AsyncConnection.open(url).")
        _refuse(chain, str, f"{name} takes a connection", "Open one: await AsyncConnection.open(url).")
        self.chain = chain
        self.ledger_contract = Contract(chain, "LedgerManager", to_checksum_address(ledger))
        self._services: dict[str, Service] = {}

    async def service(self, name: str = INFERENCE) -> Service:
        """The service contract with this name. Raises UnknownName if it is not registered."""
        if name not in self._services:
            address = await self.ledger_contract.read("getServiceAddressByName", name)
            if address == ZERO_ADDRESS:
                name, address = await self._recommended(name)
            known = self._services.get(name)
            if known is None or known.contract.address != address:
                info = ServiceVersion.read(await self.ledger_contract.read("getServiceInfo", address))
                kind = FINE_TUNING if info.type == FINE_TUNING else INFERENCE
                self._services[name] = Service(name, kind, Contract(self.chain, artifact_of(kind), address))
        return self._services[name]

    async def _recommended(self, service_type: str) -> tuple[str, ChecksumAddress]:
        try:
            version, address = await self.ledger_contract.read("getRecommendedService", service_type)
        except NoRecommendedService:
            known = await self.versions()
            candidates = [one for one in known if one.type == service_type]
            if len(candidates) != 1:
                raise UnknownName(
                    f"The ledger has no service named {service_type!r}, and recommends none of this type.",
                    cause=f"Registered services: {', '.join(one.name for one in known) or 'none'}.",
                    next_step="serving registry list",
                ) from None
            return candidates[0].name, candidates[0].address
        return f"{service_type}-{version}", address

    async def services(self) -> list[Service]:
        """Every registered service contract."""
        return [await self.service(one.name) for one in await self.versions()]

    async def versions(self, service_type: str | None = None) -> list[ServiceVersion]:
        """The registered versions of one service type, or of all types."""
        try:
            answer = await self.ledger_contract.listing("getActiveServices")
        except RevertedWithoutReason:  # the live network has only a listing without pages
            answer = await self.ledger_contract.read("getAllActiveServices")
        found = [ServiceVersion.read(one) for one in answer]
        return [one for one in found if service_type in (None, one.type)]

    async def ledger(self, user: str) -> Ledger | None:
        """The user's ledger, or None."""
        try:
            return Ledger.read(await self.ledger_contract.read("getLedger", user))
        except LedgerNotExists:
            return None

    async def ledgers(self) -> list[Ledger]:
        """All ledgers."""
        return [Ledger.read(one) for one in await self.ledger_contract.listing("getAllLedgers")]

    async def minimums(self) -> tuple[int, int]:
        """The minimum deposit of a new ledger and the minimum transfer to a new provider account, in wei."""
        ledger, transfer = await self.ledger_contract.read_many(
            [("MIN_ACCOUNT_BALANCE", ()), ("MIN_TRANSFER_AMOUNT", ())]
        )
        return ledger, transfer

    async def account(self, user: str, provider: str, service: str = INFERENCE) -> Account | None:
        """The user's account with the provider, or None."""
        found = await self.service(service)
        try:
            answer, lock_time = await found.contract.read_many([("getAccount", (user, provider)), ("lockTime", ())])
        except AccountNotExists:
            return None
        return Account.read(found.name, lock_time, answer)

    async def accounts(
        self, *, user: str | None = None, provider: str | None = None, service: str = INFERENCE
    ) -> list[Account]:
        """The accounts of a user, of a provider, or all. Fine-tuning accounts are listed without their refunds."""
        if user is not None and provider is not None:
            raise InvalidInput(
                "Accounts can be listed by user or by provider, not by both.", next_step="Use account() instead."
            )
        found = await self.service(service)
        lock_time = await found.contract.read("lockTime")
        if user is not None:
            answer = await found.contract.listing("getAccountsByUser", user)
        elif provider is not None:
            answer = await found.contract.listing("getAccountsByProvider", provider)
        else:
            answer = await found.contract.listing("getAllAccounts")
        return [Account.read(found.name, lock_time, one) for one in answer]

    async def accounts_with(
        self, provider: str, users: Sequence[str], service: str = INFERENCE, *, block: Block = "latest"
    ) -> dict[str, Account]:
        """The accounts of many users with one provider, by user. Users without an account are omitted."""
        found = await self.service(service)
        size = USERS_PER_REQUEST[found.kind]
        users = several(users)
        parts = [users[start : start + size] for start in range(0, len(users), size)]
        lock_time, *answers = await found.contract.read_many(
            [("lockTime", ()), *(("getBatchAccountsByUsers", (part,)) for part in parts)], sender=provider, block=block
        )
        accounts: dict[str, Account] = {}
        for part, answer in zip(parts, answers, strict=True):
            for user, one in zip(part, answer, strict=True):
                account = Account.read(found.name, lock_time, one)
                if account.exists:
                    accounts[user] = account
        return accounts

    async def balances(self, user: str) -> Balances:
        """All funds of the user: in the wallet, in the ledger and in all services."""
        user = to_checksum_address(user)
        services = await self.services()
        wallet, ledger = await asyncio.gather(self.chain.balance(user), self.ledger(user))
        accounts: list[Account] = []
        for service in services:
            listed = await self.accounts(user=user, service=service.name)
            if service.kind == FINE_TUNING:
                full = [await self.account(user, one.provider, service.name) for one in listed]
                listed = [one for one in full if one is not None]
            accounts += listed
        return Balances(user, wallet, ledger, tuple(accounts))

    async def offers(self, service: str = INFERENCE) -> list[ProviderService]:
        """Every provider's registered service."""
        found = await self.service(service)
        return [ProviderService.read(found.name, one) for one in await registered_providers(found.contract)]

    async def offer(self, provider: str, service: str = INFERENCE) -> ProviderService | None:
        """One provider's registered service, or None."""
        found = await self.service(service)
        try:
            return ProviderService.read(found.name, await found.contract.read("getService", provider))
        except ServiceNotExist:
            return None

    async def services_of(self, provider: str) -> list[str]:
        """The names of the services in which a provider has registered."""
        names = [one.name for one in await self.services()]
        return [name for name in names if await self.offer(provider, name) is not None]

    async def deliverables(self, user: str, provider: str, service: str = FINE_TUNING) -> list[Deliverable]:
        """The deliverables between a user and a provider, oldest first. Raises AccountNotExists."""
        found = await self.service(service)
        return [Deliverable.read(one) for one in await found.contract.read("getDeliverables", user, provider)]

    async def deliverable(self, user: str, provider: str, id: str, service: str = FINE_TUNING) -> Deliverable:  # noqa: A002
        """One deliverable. Raises AccountNotExists and DeliverableNotExists."""
        found = await self.service(service)
        return Deliverable.read(await found.contract.read("getDeliverable", user, provider, id))

    async def settings(self, service: str = INFERENCE) -> dict[str, Any]:
        """The settings: owner, ledgerAddress, lockTime (seconds), MIN_PROVIDER_STAKE (wei), penaltyPercentage."""
        found = await self.service(service)
        names = ["owner", "ledgerAddress", "lockTime", "MIN_PROVIDER_STAKE"]
        if found.kind == FINE_TUNING:
            names.append("penaltyPercentage")
        return dict(zip(names, await found.contract.read_many([(name, ()) for name in names]), strict=True))

    async def contract(self, name: str) -> Contract:
        """The contract with this name: "ledger", or a service's name or type."""
        return self.ledger_contract if name == "ledger" else (await self.service(name)).contract

    async def past_events(
        self, *, from_block: int = 0, to_block: int | None = None, involving: str | None = None
    ) -> list[Event]:
        """The events of the ledger and all services in these blocks, in order.

        `involving` keeps the events that have this address in their arguments.
        """
        contracts = [self.ledger_contract, *(one.contract for one in await self.services())]
        last = await self.chain.block_number() if to_block is None else to_block
        return await past_events(self.chain, contracts, from_block, last, involving)

    async def events(
        self, *, from_block: int | None = None, involving: str | None = None, confirmations: int = 0, every: float = 2.0
    ) -> AsyncIterator[Event]:
        """Yield each event from now on (or from `from_block`) once, without end and across reconnections.

        An event whose block is removed by a reorganisation is yielded again with `removed` set. `every` is the
        interval between requests in seconds.
        """
        contracts = [self.ledger_contract, *(one.contract for one in await self.services())]
        start = await self.chain.block_number() + 1 if from_block is None else from_block
        async for event in event_stream(self.chain, contracts, start, involving, confirmations, every):
            yield event

    async def supports(self, function: str, *args: Any, service: str = INFERENCE, sender: str | None = None) -> bool:
        """Whether a service's contract has `function`."""
        return await (await self.service(service)).contract.has(function, *args, sender=sender)

    async def answers(self) -> bool:
        """Whether there is a ledger at the given address."""
        try:
            await self.ledger_contract.read("initialized")
        except (ContractError, UnknownName):
            return False
        return True

    @classmethod
    async def open(cls, target: Target, ledger: str = LOCAL_LEDGER, expected_chain_id: int | None = None) -> Self:
        """Connect. `target` is as for `AsyncReader.open`."""
        return cls(await AsyncReader.open(target, expected_chain_id), ledger)

    async def close(self) -> None:
        """Close the connection."""
        await self.chain.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Network(SyncFace[AsyncNetwork]):
    """`AsyncNetwork` for code without an event loop."""

    def __init__(self, connection: Reader, ledger: str = LOCAL_LEDGER) -> None:
        name = type(self).__name__
        _refuse(connection, AsyncReader, f"{name} takes a sync connection", f"Use Async{name}.")
        _refuse(connection, Coroutine, f"{name} takes a sync connection", "Open one: Connection.open(url).")
        _refuse(connection, str, f"{name} takes a connection", "Open one: Connection.open(url).")
        super().__init__(AsyncNetwork(connection.core, ledger), connection.runner)

    service = blocking(AsyncNetwork.service)
    services = blocking(AsyncNetwork.services)
    versions = blocking(AsyncNetwork.versions)
    ledger = blocking(AsyncNetwork.ledger)
    ledgers = blocking(AsyncNetwork.ledgers)
    minimums = blocking(AsyncNetwork.minimums)
    account = blocking(AsyncNetwork.account)
    accounts = blocking(AsyncNetwork.accounts)
    accounts_with = blocking(AsyncNetwork.accounts_with)
    balances = blocking(AsyncNetwork.balances)
    offers = blocking(AsyncNetwork.offers)
    offer = blocking(AsyncNetwork.offer)
    deliverables = blocking(AsyncNetwork.deliverables)
    deliverable = blocking(AsyncNetwork.deliverable)
    settings = blocking(AsyncNetwork.settings)
    contract = blocking(AsyncNetwork.contract)
    past_events = blocking(AsyncNetwork.past_events)
    events = blocking_iterator(AsyncNetwork.events)
    supports = blocking(AsyncNetwork.supports)
