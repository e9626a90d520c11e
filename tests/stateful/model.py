# SPDX-License-Identifier: Apache-2.0
"""The serving network in plain Python: what every transaction returns, emits, refuses and pays.

Written from the specification, not from the contracts, and meant to be read as the specification: no storage layout,
no gas, no encoding. Functions have the contracts' names in snake case and take the `Call` first. Amounts are wei,
times unix seconds, addresses checksummed strings; `Refused` is a revert, with the error's name and arguments: an empty
name is a revert without data.

A signature is not computed here: `Network.signed` knows which signer put which bytes under which message, and any
other bytes are worth nothing.
"""

# ruff: noqa: ARG002, since every function of a contract takes the call, and views ask nothing of it
from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

ZERO = "0x" + 40 * "0"
COIN = 10**18
HOUR = 3600
WEEK = 7 * 24 * HOUR

MAX_AVAILABLE = 2**96 - 1
MAX_BALANCE = 2**92 - 1
MAX_STAKE = 2**95 - 1
MAX_NONCE = 2**64 - 1
MAX_PRICE = 2**104 - 1
WORD_BYTES = 32
MAX_INFO = 4096
MAX_REFUNDS = 5
MAX_DELIVERABLES = 20
MAX_ACCOUNTS = 50
MAX_SERVICES = 500
MAX_PAGE = 50
MAX_URL = 2048
MAX_SHORT = 256
MAX_MODELS = 64
MAX_QUOTA = 2**64 - 1
MAX_ROOT = MAX_SECRET = 1024
MAX_ID = 256

SUCCESS, PARTIAL, PROVIDER_MISMATCH, NO_TEE_SIGNER, INVALID_NONCE, INVALID_SIGNATURE = range(6)

Event = tuple[str, str, dict[str, Any]]
Reason = tuple[str, dict[str, Any]]


class Refused(Exception):
    """A revert. `reason` is the error's name and its arguments."""

    def __init__(self, name: str, **args: Any) -> None:
        super().__init__(name, args)
        self.reason: Reason = (name, args)


def require(condition: bool, name: str, **args: Any) -> None:
    """Revert with the error `name` unless `condition` holds."""
    if not condition:
        raise Refused(name, **args)


@dataclass(frozen=True)
class Call:
    sender: str
    value: int = 0


@dataclass(frozen=True)
class Result:
    """What a transaction did: `refused` with a reason, or a returned value and events (address, name, arguments).

    `told` has the events of all contracts and, among them, what wallets that called back were answered.
    """

    value: Any
    told: list[Event]
    refused: Reason | None = None

    @property
    def events(self) -> list[Event]:
        """Those of the contracts."""
        return [event for event in self.told if event[1] != "CalledBack"]


@dataclass(frozen=True)
class Mood:
    """What a wallet that is a contract does with coins: refuse them, or call something once, whatever comes of it."""

    refuses: bool = False
    to: str = ""
    name: str = ""
    args: tuple[Any, ...] = ()


class Network:
    """Coins, the clock, and the contracts by address."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.coins: dict[str, int] = {}
        self.contracts: dict[str, Contract] = {}
        self.moods: dict[str, Mood] = {}
        self.events: list[Event] = []
        self.signed: dict[bytes, tuple[str, Any]] = {}

    def transact(self, to: str, name: str, *args: Any, sender: str, value: int = 0) -> Result:
        """One transaction: everything happens, or nothing."""
        before = self._save()
        self.events = []
        try:
            returned = self._call(sender, to, name, args, value)
        except Refused as refused:
            self._restore(before)
            return Result(None, [], refused.reason)
        return Result(returned, self.events)

    def look(self, to: str, name: str, *args: Any, sender: str) -> Result:
        """A question, which changes nothing."""
        try:
            return Result(getattr(self.contracts[to], snake_case(name))(Call(sender), *args), [])
        except Refused as refused:
            return Result(None, [], refused.reason)

    def pay(self, payer: str, to: str, amount: int) -> bool:
        """Send coins to whom the payer does not trust. Returns whether they were taken."""
        mood = self.moods.get(to)
        if mood is not None and mood.refuses:
            return False
        self.move(payer, to, amount)
        if mood is not None:
            before = self._save()
            del self.moods[to]
            success = True
            try:
                answer = self._call(to, mood.to, mood.name, mood.args, 0)
            except Refused as refused:
                self._restore(before)
                del self.moods[to]
                success, answer = False, refused.reason
            self.events.append((to, "CalledBack", {"success": success, "answer": answer}))
        return True

    def move(self, payer: str, to: str, amount: int) -> None:
        self.coins[payer] -= amount
        self.coins[to] = self.coins.get(to, 0) + amount

    def signed_by(self, signer: str, message: Any, signature: bytes) -> bool:
        return self.signed.get(signature) == (signer, message)

    def _call(self, sender: str, to: str, name: str, args: tuple[Any, ...], value: int) -> Any:
        self.move(sender, to, value)
        return getattr(self.contracts[to], snake_case(name or "receive"))(Call(sender, value), *args)

    def _save(self) -> bytes:
        contracts = {address: contract.__dict__ for address, contract in self.contracts.items()}
        return pickle.dumps((contracts, self.coins, self.moods, self.events))

    def _restore(self, saved: bytes) -> None:
        contracts, self.coins, self.moods, self.events = pickle.loads(saved)
        for address, contract in self.contracts.items():
            contract.__dict__.update(contracts[address])

    def add(self, contract: Contract) -> None:
        self.contracts[contract.address] = contract
        self.coins.setdefault(contract.address, 0)
        NETWORKS[contract.address] = self


# Which network a contract is in. Kept beside the contracts, so that saving one does not save them all.
NETWORKS: dict[str, Network] = {}


@cache
def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


@dataclass
class Contract:
    """Any contract with an owner, handed over in one step or two."""

    address: str
    owner: str
    pending_owner: str = ZERO

    @property
    def network(self) -> Network:
        return NETWORKS[self.address]

    @property
    def now(self) -> int:
        return self.network.now

    def emit(self, name: str, **args: Any) -> None:
        self.network.events.append((self.address, name, args))

    def receive(self, call: Call) -> None:
        """A plain transfer."""
        raise Refused("DirectDepositsDisabled")

    def only_owner(self, call: Call) -> None:
        require(call.sender == self.owner, "Error", message="Ownable: caller is not the owner")

    def transfer_ownership(self, call: Call, new_owner: str) -> None:
        self.only_owner(call)
        require(new_owner != ZERO, "Error", message="Ownable: new owner is the zero address")
        self._own(new_owner)

    def offer_ownership(self, call: Call, new_owner: str) -> None:
        self.only_owner(call)
        self.pending_owner = new_owner
        self.emit("OwnershipTransferStarted", previousOwner=self.owner, newOwner=new_owner)

    def accept_ownership(self, call: Call) -> None:
        message = "Ownable2Step: caller is not the new owner"
        require(call.sender == self.pending_owner, "Error", message=message)
        self._own(call.sender)

    def renounce_ownership(self, call: Call) -> None:
        self.only_owner(call)
        self._own(ZERO)

    def initialize(self, call: Call, *args: Any) -> None:
        raise Refused("AlreadyInitialized")

    def _own(self, new_owner: str) -> None:
        self.emit("OwnershipTransferred", previousOwner=self.owner, newOwner=new_owner)
        self.owner, self.pending_owner = new_owner, ZERO


@dataclass
class Beacon(Contract):
    """What the code behind a front is: its owner replaces it, and with it the minimums of the contract there."""

    front: str = ZERO
    implementation: str = ZERO
    settings: dict[str, dict[str, int]] = field(default_factory=dict)

    def receive(self, call: Call) -> None:
        raise Refused("")

    def upgrade_to(self, call: Call, implementation: str) -> None:
        self.only_owner(call)
        is_contract = implementation in self.settings
        require(is_contract, "Error", message="UpgradeableBeacon: implementation is not a contract")
        self.implementation = implementation
        vars(self.network.contracts[self.front]).update(self.settings[implementation])
        self.emit("Upgraded", implementation=implementation)


# The ledger


@dataclass(frozen=True)
class Registered:
    """A service in the registry. `book`: it answers what each user has there; for any other the ledger keeps that."""

    address: str
    kind: str
    version: str
    description: str
    at: int
    book: bool = True


@dataclass
class UserLedger:
    available: int = 0
    info: str = ""


@dataclass
class Ledger(Contract):
    """Wallets to ledgers to services, and back."""

    min_account: int = 3 * COIN
    min_transfer: int = COIN
    users: dict[str, UserLedger] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    services: dict[str, Registered] = field(default_factory=dict)
    recommended: dict[str, str] = field(default_factory=dict)
    used: dict[str, list[str]] = field(default_factory=dict)
    """The names of the services that a user may have accounts in."""
    kept: dict[tuple[str, str], int] = field(default_factory=dict)
    """By user and name: what the ledger notes for a service without a book."""
    listed: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """By user and name: the providers that it notes there."""
    locked: set[str] = field(default_factory=set)

    def receive(self, call: Call) -> None:
        """Only a registered service may send coins, and none does but on request."""
        raise Refused("DirectDepositsDisabled")

    # Deposits

    def add_ledger(self, call: Call, info: str) -> tuple[int, int]:
        self._unlocked(call.sender)
        require(
            call.value >= self.min_account, "MinimumDepositRequired", provided=call.value, required=self.min_account
        )
        self._short(info)
        require(call.sender not in self.users, "LedgerExists", user=call.sender)
        self._open(call.sender).info = info
        self._credit(call.sender, call)
        return call.value, 0

    def update_additional_info(self, call: Call, info: str) -> None:
        self._unlocked(call.sender)
        self._short(info)
        self._existing(call.sender).info = info
        self.emit("LedgerInfoUpdated", user=call.sender, additionalInfo=info)

    def deposit_fund(self, call: Call) -> None:
        self._unlocked(call.sender)
        self._deposit(call.sender, call)

    def deposit_fund_for(self, call: Call, recipient: str) -> None:
        require(recipient != ZERO, "ZeroAddressNotAllowed")
        self._unlocked(recipient)
        self._deposit(recipient, call)

    def _deposit(self, user: str, call: Call) -> None:
        require(call.value != 0, "ZeroAmountNotAllowed")
        if user not in self.users:
            require(
                call.value >= self.min_account, "MinimumDepositRequired", provided=call.value, required=self.min_account
            )
            self._open(user)
        self._credit(user, call)

    def _open(self, user: str) -> UserLedger:
        self.users[user] = UserLedger()
        self.order.append(user)
        self.emit("LedgerCreated", user=user)
        return self.users[user]

    def _credit(self, user: str, call: Call) -> None:
        available = self.users[user].available + call.value
        require(available <= MAX_AVAILABLE, "AmountTooLarge", amount=available, max=MAX_AVAILABLE)
        self.users[user].available = available
        self.emit("Deposited", user=user, payer=call.sender, amount=call.value, availableBalance=available)

    # Back to the wallet

    def refund(self, call: Call, amount: int) -> None:
        self._locking(call.sender)
        self._refund(call.sender, amount)
        self.locked.discard(call.sender)

    def refund_all(self, call: Call) -> None:
        self._locking(call.sender)
        self._refund(call.sender, self._existing(call.sender).available)
        self.locked.discard(call.sender)

    def _refund(self, user: str, amount: int) -> None:
        ledger = self._existing(user)
        require(amount <= ledger.available, "InsufficientBalance", user=user)
        remaining = ledger.available - amount
        enough = remaining == 0 or remaining >= self.min_account
        require(enough, "MinimumDepositRequired", provided=remaining, required=self.min_account)
        ledger.available = remaining
        self.emit("Refunded", user=user, amount=amount, availableBalance=remaining)
        total, silent = self.total(user)
        if total == 0 and not silent:
            self._delete(user)
        if amount != 0:
            require(self.network.pay(self.address, user, amount), "TransferFailed")

    def delete_ledger(self, call: Call) -> None:
        self._locking(call.sender)
        self._existing(call.sender)
        total, silent = self.total(call.sender)
        require(total == 0, "MustWithdrawAllFundsFirst", remainingBalance=total)
        if silent:
            raise Refused("ServiceNotAnswering", service=silent)
        self._delete(call.sender)
        self.locked.discard(call.sender)

    def _delete(self, user: str) -> None:
        """A service that refuses does not stop it: what it keeps stays listed."""
        del self.users[user]
        remove(self.order, user)
        self.emit("LedgerDeleted", user=user)
        used = self.used.get(user, [])
        for name in sorted(used, key=list(self.services).index):
            service, book = self._at(name), self.services[name].book
            for provider in reversed(self._providers(user, name)):
                try:
                    service.delete_account(Call(self.address), user, provider)
                    if not book and not service.account_exists(Call(self.address), user, provider):
                        remove(self.listed[user, name], provider)
                except Refused:
                    continue
            try:
                if not (service.provider_count(Call(self.address), user) if book else self.listed[user, name]):
                    used.remove(name)
            except Refused:
                continue

    # To and from the services

    def transfer_fund(self, call: Call, provider: str, service_name: str, amount: int) -> None:
        user = call.sender
        self._locking(user)
        ledger = self._existing(user)
        name, service = service_name, self._service(service_name)
        pending = self._pending(name, user, provider)
        noted = self.listed.setdefault((user, name), [])
        if pending is None:
            require(amount >= self.min_transfer, "MinimumDepositRequired", provided=amount, required=self.min_transfer)
            count = passed_on(service.provider_count, user) if self.services[name].book else 0
            require(count < MAX_ACCOUNTS, "TooManyProvidersForService", current=count, maximum=MAX_ACCOUNTS)
        cancelled = min(amount, pending or 0)
        moved = amount - cancelled
        if not self.services[name].book and provider not in noted:
            count = len(noted)
            require(count < MAX_ACCOUNTS, "TooManyProvidersForService", current=count, maximum=MAX_ACCOUNTS)
            noted.append(provider)
        require(ledger.available >= moved, "InsufficientAvailableBalance", available=ledger.available, required=moved)
        if not self.services[name].book:
            self.kept[user, name] = self.kept.get((user, name), 0) + moved
        used = self.used.setdefault(user, [])
        if name not in used:
            used.append(name)
        ledger.available -= moved
        self.emit(
            "FundsTransferred",
            user=user,
            provider=provider,
            service=service.address,
            amount=moved,
            cancelledRefund=cancelled,
        )
        self.network.move(self.address, service.address, moved)
        if pending is None:
            passed_on(service.add_account, user, provider, ledger.info, sender=self.address, value=moved)
        else:
            passed_on(service.deposit_fund, user, provider, cancelled, sender=self.address, value=moved)
        self.locked.discard(user)

    def retrieve_fund(self, call: Call, providers: list[str], service_name: str) -> None:
        require(len(providers) <= 20, "TooManyProviders", requested=len(providers), maximum=20)
        service, book = self._service(service_name), self.services[service_name].book
        user = call.sender
        self._locking(user)
        self._existing(user)
        retrieved = 0
        for provider in providers:
            if passed_on(service.account_exists, user, provider):
                before = self.network.coins[self.address]
                reported, balance, _ = passed_on(service.process_refund, user, provider, sender=self.address)
                arrived = self.network.coins[self.address] - before
                require(arrived == reported, "RefundMismatch", received=arrived, reported=reported)
                retrieved += arrived
                if balance or not book:
                    passed_on(service.request_refund_all, user, provider, sender=self.address)
        if retrieved:
            if not book:
                self.kept[user, service_name] -= min(self.kept[user, service_name], retrieved)
            ledger = self._existing(user)
            ledger.available += retrieved
            require(ledger.available <= MAX_AVAILABLE, "AmountTooLarge", amount=ledger.available, max=MAX_AVAILABLE)
            self.emit(
                "FundsRetrieved",
                user=user,
                service=service.address,
                amount=retrieved,
                availableBalance=ledger.available,
            )
        self.locked.discard(user)

    def spend_fund(self, call: Call, user: str, amount: int) -> None:
        """For services without a book, about what the ledger has noted for them."""
        names = [name for name, one in self.services.items() if one.address == call.sender]
        require(bool(names), "CallerNotRegisteredService", caller=call.sender)
        self._unlocked(user)
        self._existing(user)
        held = self.kept.get((user, names[0]), 0)
        require(amount <= held, "InsufficientAvailableBalance", available=held, required=amount)
        self.kept[user, names[0]] = held - amount
        self.emit("FundSpent", user=user, service=call.sender, amount=amount)

    # The registry

    def register_service(self, call: Call, kind: str, version: str, address: str, description: str) -> None:
        self.only_owner(call)
        require(address != ZERO, "InvalidServiceAddress", serviceAddress=address)
        require(kind != "", "ServiceTypeRequired")
        require(version != "", "VersionRequired")
        for text, most in ((kind, 64), (version, 64), (description, 1024)):
            require(len(text) <= most, "TextTooLong", length=len(text), max=most)
        known = any(one.address == address for one in self.services.values())
        require(not known, "ServiceAlreadyRegistered", serviceAddress=address)
        name = f"{kind}-{version}"
        require(name not in self.services, "ServiceNameExists", serviceName=name)
        contract = self.network.contracts.get(address)
        serves = isinstance(contract, Serving) and contract.speaks()
        require(serves, "ServiceMustImplementIServing", serviceAddress=address)
        require(len(self.services) < MAX_SERVICES, "ServiceRegistryLimitReached", limit=MAX_SERVICES)
        book = isinstance(contract, Serving) and contract.book
        self.services[name] = Registered(address, kind, version, description, self.now, book)
        self.emit("ServiceRegistered", serviceAddress=address, serviceName=name)

    def set_recommended_service(self, call: Call, kind: str, version: str) -> None:
        self.only_owner(call)
        service = self._exactly(kind, version)
        require(service is not None, "ServiceNotFound", serviceAddress=ZERO)
        assert service is not None
        self.recommended[kind] = service.address
        self.emit("RecommendedServiceUpdated", serviceType=kind, version=version, serviceAddress=service.address)

    # What it knows

    def total(self, user: str) -> tuple[int, str]:
        """All that a user has, available and in the services used; and a service that does not say how much, if any."""
        total, silent = self.users[user].available, ""
        for name in sorted(self.used.get(user, []), key=list(self.services).index):
            service = self._at(name)
            try:
                book = self.services[name].book
                held = service.locked_balance(Call(self.address), user) if book else self.kept.get((user, name), 0)
            except Refused:
                held = MAX_AVAILABLE + 1
            if held <= MAX_AVAILABLE:
                total += held
            else:
                silent = service.address
        return total, silent

    def get_ledger(self, call: Call, user: str) -> dict[str, Any]:
        return {
            "user": user,
            "availableBalance": self._existing(user).available,
            "totalBalance": self.total(user)[0],
            "additionalInfo": self.users[user].info,
        }

    def get_all_ledgers(self, call: Call, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        return [self.get_ledger(call, user) for user in short_page(self.order, offset, limit)], len(self.order)

    def get_ledger_providers(self, call: Call, user: str, name: str) -> list[str]:
        self._service(name)
        return self._providers(user, name)

    def get_service_info(self, call: Call, address: str) -> dict[str, Any]:
        for one in self.services.values():
            if one.address == address:
                return self._info(one)
        nothing = {"serviceAddress": ZERO, "serviceContract": ZERO, "serviceType": "", "version": "", "fullName": ""}
        return nothing | {"description": "", "isRecommended": False, "registeredAt": 0}

    def get_service_address_by_name(self, call: Call, name: str) -> str:
        return self.services[name].address if name in self.services else ZERO

    def get_all_active_services(self, call: Call) -> list[dict[str, Any]]:
        return [self._info(one) for one in self.services.values()]

    def get_active_services(self, call: Call, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        return short_page(self.get_all_active_services(call), offset, limit), len(self.services)

    def get_all_versions(self, call: Call, kind: str) -> tuple[list[str], list[str], list[bool]]:
        return self._versions(kind, list(self.services.values()))

    def get_versions_paged(
        self, call: Call, kind: str, offset: int, limit: int
    ) -> tuple[list[str], list[str], list[bool], int]:
        """The versions of a type in a page of all services."""
        found = self._versions(kind, short_page(list(self.services.values()), offset, limit))
        return (*found, len(self.services))

    def get_recommended_service(self, call: Call, kind: str) -> tuple[str, str]:
        require(kind in self.recommended, "NoRecommendedService", serviceType=kind)
        address = self.recommended[kind]
        return next(one.version for one in self.services.values() if one.address == address), address

    def is_recommended_version(self, call: Call, kind: str, version: str) -> bool:
        service = self._exactly(kind, version)
        return service is not None and self.recommended.get(kind) == service.address

    def _versions(self, kind: str, among: list[Registered]) -> tuple[list[str], list[str], list[bool]]:
        found = [self._info(one) for one in among if one.kind == kind]
        return (
            [one["version"] for one in found],
            [one["serviceAddress"] for one in found],
            [one["isRecommended"] for one in found],
        )

    def _info(self, one: Registered) -> dict[str, Any]:
        return {
            "serviceAddress": one.address,
            "serviceContract": one.address,
            "serviceType": one.kind,
            "version": one.version,
            "fullName": f"{one.kind}-{one.version}",
            "description": one.description,
            "isRecommended": self.recommended.get(one.kind) == one.address,
            "registeredAt": one.at,
        }

    def _exactly(self, kind: str, version: str) -> Registered | None:
        """Of this type and version: a-b and c is not a and b-c."""
        service = self.services.get(f"{kind}-{version}")
        return service if service is not None and service.kind == kind else None

    def _pending(self, name: str, user: str, provider: str) -> int | None:
        """What of an account is asked back; None where there is no account."""
        service = self._at(name)
        if self.services[name].book:
            try:
                return service.get_pending_refund(Call(self.address), user, provider)
            except Refused:
                return None
        if not passed_on(service.account_exists, user, provider):
            return None
        pending: int = passed_on(service.get_pending_refund, user, provider)
        return pending

    def _providers(self, user: str, name: str) -> list[str]:
        if not self.services[name].book:
            return list(self.listed.get((user, name), []))
        try:
            return self._at(name).providers_of(Call(self.address), user)
        except Refused:
            return []

    def _service(self, name: str) -> Serving:
        require(name in self.services, "ServiceNotFound", serviceAddress=ZERO)
        return self._at(name)

    def _at(self, name: str) -> Serving:
        contract = self.network.contracts[self.services[name].address]
        assert isinstance(contract, Serving)
        return contract

    def _existing(self, user: str) -> UserLedger:
        require(user in self.users, "LedgerNotExists", user=user)
        return self.users[user]

    def _short(self, info: str) -> None:
        require(len(info) <= MAX_INFO, "AdditionalInfoTooLong", length=len(info), max=MAX_INFO)

    def _unlocked(self, user: str) -> None:
        require(user not in self.locked, "LedgerLocked")

    def _locking(self, user: str) -> None:
        self._unlocked(user)
        self.locked.add(user)


# What both services share


@dataclass
class Refund:
    amount: int
    created: int


@dataclass
class Deliverable:
    id: str
    root: bytes
    timestamp: int
    secret: bytes = b""
    acknowledged: bool = False
    settled: bool = False


@dataclass
class Account:
    """What a user has with a provider. After deletion nonce, generation and revoked tokens stay."""

    nonce: int = 0
    generation: int = 0
    revoked: int = 0
    open: bool = False
    balance: int = 0
    refunds: list[Refund] = field(default_factory=list)
    info: str = ""
    acknowledged: bool = False
    penalised: bool = False
    deliverables: list[Deliverable] = field(default_factory=list)
    evicted: int = 0

    @property
    def pending(self) -> int:
        return sum(refund.amount for refund in self.refunds)

    def cancel(self, amount: int) -> None:
        """Take refunds back, newest first; one that is cut keeps its age."""
        while amount > 0:
            newest = self.refunds[-1]
            cut = min(amount, newest.amount)
            newest.amount -= cut
            amount -= cut
            if newest.amount == 0:
                self.refunds.pop()

    def charge(self, nonce: int, amount: int) -> None:
        self.nonce = nonce
        self.balance -= amount
        self.cancel(self.pending - self.balance)


@dataclass
class Offer:
    """A provider's registration."""

    stake: int
    terms: dict[str, Any]
    signer: str = ZERO
    confirmed: bool = False
    updated: int = 0


@dataclass
class Serving(Contract):
    """What the ledger asks of any service, ours or not. `book`: it says itself what its users have."""

    book: bool = True
    ledger: str = ZERO

    def speaks(self) -> bool:
        """Whether it says that it is a service."""
        return True

    def add_account(self, call: Call, user: str, provider: str, info: str) -> None:
        raise NotImplementedError

    def deposit_fund(self, call: Call, user: str, provider: str, cancel: int) -> None:
        raise NotImplementedError

    def request_refund_all(self, call: Call, user: str, provider: str) -> None:
        raise NotImplementedError

    def process_refund(self, call: Call, user: str, provider: str) -> tuple[int, int, int]:
        """What was paid, what is left, and what of it is asked back."""
        raise NotImplementedError

    def delete_account(self, call: Call, user: str, provider: str) -> None:
        raise NotImplementedError

    def account_exists(self, call: Call, user: str, provider: str) -> bool:
        raise NotImplementedError

    def get_pending_refund(self, call: Call, user: str, provider: str) -> int:
        raise NotImplementedError

    def locked_balance(self, call: Call, user: str) -> int:
        raise NotImplementedError

    def provider_count(self, call: Call, user: str) -> int:
        return len(self.providers_of(call, user))

    def providers_of(self, call: Call, user: str) -> list[str]:
        raise NotImplementedError


@dataclass
class Service(Serving):
    lock_time: int = 24 * HOUR
    min_stake: int = 100 * COIN
    accounts: dict[tuple[str, str], Account] = field(default_factory=dict)
    all: list[tuple[str, str]] = field(default_factory=list)
    by_user: dict[str, list[str]] = field(default_factory=dict)
    by_provider: dict[str, list[str]] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    offered: list[str] = field(default_factory=list)
    paying: bool = False
    removed_event_key: str = "service"
    payout_error: str = "TransferFailed"

    # Accounts, for the ledger

    def add_account(self, call: Call, user: str, provider: str, info: str) -> None:
        self._only_ledger(call)
        self._parties_and_info(user, provider, info)
        require(not self.existing(user, provider), "AccountExists", user=user, provider=provider)
        require(call.value <= MAX_BALANCE, "AmountTooLarge", amount=call.value, max=MAX_BALANCE)
        account = self.accounts.setdefault((user, provider), Account())
        account.open, account.balance, account.info, account.acknowledged = True, call.value, info, True
        self.all.append((user, provider))
        self.by_user.setdefault(user, []).append(provider)
        self.by_provider.setdefault(provider, []).append(user)
        self._tell(user, provider)

    def deposit_fund(self, call: Call, user: str, provider: str, cancel: int) -> None:
        self._only_ledger(call)
        self._parties(user, provider)
        account = self.account(user, provider)
        balance = account.balance + call.value
        require(balance <= MAX_BALANCE, "AmountTooLarge", amount=balance, max=MAX_BALANCE)
        account.balance = balance
        account.cancel(min(cancel, account.pending))
        account.acknowledged, account.penalised = True, False
        self._tell(user, provider)

    def request_refund_all(self, call: Call, user: str, provider: str) -> None:
        self._only_ledger(call)
        account = self.account(user, provider)
        amount = account.balance - account.pending
        if amount and len(account.refunds) == MAX_REFUNDS:
            account.refunds[-1].amount += amount
            account.refunds[-1].created = self.now
        elif amount:
            account.refunds.append(Refund(amount, self.now))
        if account.refunds:
            self.emit(
                "RefundRequested",
                user=user,
                provider=provider,
                index=len(account.refunds) - 1,
                timestamp=self.now,
            )

    def process_refund(self, call: Call, user: str, provider: str) -> tuple[int, int, int]:
        self._only_ledger(call)
        account = self.account(user, provider)
        due = [refund for refund in account.refunds if self.now >= refund.created + self.lock_time]
        paid = sum(refund.amount for refund in due)
        if paid:
            account.refunds = [refund for refund in account.refunds if refund not in due]
            account.balance -= paid
            self._tell(user, provider)
            require(not self.paying, "PayoutInProgress")
            self.network.move(self.address, self.ledger, paid)
        return paid, account.balance, account.pending

    def delete_account(self, call: Call, user: str, provider: str) -> None:
        self._only_ledger(call)
        account = self.existing(user, provider)
        if account is not None:
            balance = account.balance
            require(balance == 0, "AccountNotEmpty", user=user, provider=provider, balance=balance)
            self.accounts[user, provider] = Account(account.nonce, account.generation, account.revoked)
            remove(self.all, (user, provider))
            remove(self.by_user[user], provider)
            remove(self.by_provider[provider], user)
        self.emit("AccountDeleted", user=user, provider=provider, refundedAmount=0)

    def acknowledge_tee_signer(self, call: Call, provider: str, acknowledged: bool) -> None:
        account = self.account(call.sender, provider)
        if not acknowledged:
            require(
                account.balance == 0,
                "CannotRevokeWithNonZeroBalance",
                user=call.sender,
                provider=provider,
                balance=account.balance,
            )
        account.acknowledged, account.penalised = acknowledged, False

    # Providers

    def remove_service(self, call: Call) -> None:
        stake = self.offer(call.sender).stake
        del self.offers[call.sender]
        remove(self.offered, call.sender)
        self.emit("ProviderStakeReturned", provider=call.sender, amount=stake)
        self.emit("ServiceRemoved", **{self.removed_event_key: call.sender})
        self._pay(call.sender, stake)

    def acknowledge_tee_signer_by_owner(self, call: Call, provider: str, expected: str = ZERO) -> None:
        self.only_owner(call)
        offer = self.offer(provider)
        if expected not in (ZERO, offer.signer):
            raise Refused("UnexpectedTEESigner", provider=provider, expected=expected, actual=offer.signer)
        self._confirm(provider, confirmed=True)

    def revoke_tee_signer_acknowledgement(self, call: Call, provider: str) -> None:
        self.only_owner(call)
        self.offer(provider)
        self._confirm(provider, confirmed=False)

    def _confirm(self, provider: str, *, confirmed: bool) -> None:
        offer = self.offers[provider]
        offer.confirmed = confirmed
        self.emit(
            "ProviderTEESignerAcknowledged",
            provider=provider,
            teeSignerAddress=offer.signer,
            acknowledged=confirmed,
        )

    def _staked(self, call: Call) -> Offer:
        """The caller's registration, or a new one for the coins sent."""
        offer = self.offers.get(call.sender)
        if offer is not None:
            require(call.value == 0, "CannotAddStakeWhenUpdating")
            return offer
        require(call.value >= self.min_stake, "InsufficientStake", provided=call.value, required=self.min_stake)
        require(call.value <= MAX_STAKE, "AmountTooLarge", amount=call.value, max=MAX_STAKE)
        self.emit("ProviderStaked", provider=call.sender, amount=call.value)
        self.offered.append(call.sender)
        self.offers[call.sender] = Offer(call.value, {})
        return self.offers[call.sender]

    # What it knows

    def existing(self, user: str, provider: str) -> Account | None:
        account = self.accounts.get((user, provider))
        return account if account is not None and account.open else None

    def account(self, user: str, provider: str) -> Account:
        account = self.existing(user, provider)
        if account is None:
            raise Refused("AccountNotExists", user=user, provider=provider)
        return account

    def offer(self, provider: str) -> Offer:
        require(provider in self.offers, "ServiceNotExist", provider=provider)
        return self.offers[provider]

    def account_exists(self, call: Call, user: str, provider: str) -> bool:
        return self.existing(user, provider) is not None

    def get_pending_refund(self, call: Call, user: str, provider: str) -> int:
        return self.account(user, provider).pending

    def locked_balance(self, call: Call, user: str) -> int:
        return sum(self.accounts[user, provider].balance for provider in self.providers_of(call, user))

    def providers_of(self, call: Call, user: str) -> list[str]:
        return list(self.by_user.get(user, []))

    def get_account(self, call: Call, user: str, provider: str) -> dict[str, Any]:
        self.account(user, provider)
        return self._shown(user, provider)

    def get_all_accounts(self, call: Call, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        return self._page_of_accounts(self.all, offset, limit)

    def get_accounts_by_user(self, call: Call, user: str, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        return self._page_of_accounts([(user, one) for one in self.by_user.get(user, [])], offset, limit)

    def get_accounts_by_provider(
        self, call: Call, provider: str, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        return self._page_of_accounts([(one, provider) for one in self.by_provider.get(provider, [])], offset, limit)

    def get_batch_accounts_by_users(self, call: Call, users: list[str]) -> list[dict[str, Any]]:
        """With the caller as provider; zeros where there is no account."""
        self._not_too_many(len(users))
        return [
            self._listed(user, call.sender) if self.existing(user, call.sender) else self._listed(ZERO, ZERO)
            for user in users
        ]

    def get_service(self, call: Call, provider: str) -> dict[str, Any]:
        self.offer(provider)
        return self._offered(provider)

    def _page_of_accounts(
        self, accounts: list[tuple[str, str]], offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        self._not_too_long(limit)
        return [self._listed(*one) for one in short_page(accounts, offset, limit)], len(accounts)

    def _page_of_offers(self, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        self._not_too_long(limit)
        return [self._offered(one) for one in short_page(self.offered, offset, limit)], len(self.offered)

    def _listed(self, user: str, provider: str) -> dict[str, Any]:
        """An account as listings show it."""
        raise NotImplementedError

    def _shown(self, user: str, provider: str) -> dict[str, Any]:
        raise NotImplementedError

    def _offered(self, provider: str) -> dict[str, Any]:
        """A registration as it is shown."""
        raise NotImplementedError

    def _not_too_many(self, users: int) -> None:
        raise NotImplementedError

    def _not_too_long(self, limit: int) -> None:
        raise NotImplementedError

    def _only_ledger(self, call: Call) -> None:
        raise NotImplementedError

    def _parties_and_info(self, user: str, provider: str, info: str) -> None:
        raise NotImplementedError

    def _parties(self, user: str, provider: str) -> None:
        for party in (user, provider):
            require(party != ZERO, "InvalidAddress", addr=party)
        require(user != provider, "ProviderCannotBeUser")

    def _tell(self, user: str, provider: str) -> None:
        account = self.accounts[user, provider]
        self.emit("BalanceUpdated", user=user, provider=provider, amount=account.balance, pendingRefund=account.pending)

    def _pay(self, to: str, amount: int) -> None:
        """One payout at a time."""
        require(not self.paying, "PayoutInProgress")
        self.paying = True
        require(self.network.pay(self.address, to, amount), self.payout_error)
        self.paying = False


# Inference


@dataclass
class Inference(Service):
    def _only_ledger(self, call: Call) -> None:
        require(call.sender == self.ledger, "CallerNotLedger", caller=call.sender)

    def _parties_and_info(self, user: str, provider: str, info: str) -> None:
        self._parties(user, provider)
        require(len(info) <= MAX_INFO, "AdditionalInfoTooLong")

    def update_lock_time(self, call: Call, seconds: int) -> None:
        self.only_owner(call)
        in_range = HOUR <= seconds <= WEEK
        require(in_range, "LockTimeOutOfRange", lockTime=seconds, min=HOUR, max=WEEK)
        self.emit("LockTimeUpdated", oldLockTime=self.lock_time, newLockTime=seconds)
        self.lock_time = seconds

    def add_or_update_service(self, call: Call, terms: dict[str, Any]) -> None:
        offer = self._staked(call)
        require(len(terms["additionalInfo"]) <= MAX_INFO, "AdditionalInfoTooLong")
        for key, most in (
            ("serviceType", MAX_SHORT),
            ("model", MAX_SHORT),
            ("verifiability", MAX_SHORT),
            ("url", MAX_URL),
        ):
            require(len(terms[key]) <= most, "TextTooLong", length=len(terms[key]), max=most)
        for price in (terms["inputPrice"], terms["outputPrice"]):
            require(price <= MAX_PRICE, "AmountTooLarge", amount=price, max=MAX_PRICE)
        critical = ("serviceType", "model", "verifiability", "additionalInfo", "teeSignerAddress")
        if any(offer.terms.get(key) != terms[key] for key in critical):
            offer.confirmed = False
        offer.terms, offer.signer, offer.updated = terms, terms["teeSignerAddress"], self.now
        shown = ("serviceType", "url", "inputPrice", "outputPrice", "model", "verifiability")
        told = {key: terms[key] for key in shown}
        self.emit("ServiceUpdated", service=call.sender, updatedAt=self.now, **told)

    def settle_fees_with_tee(self, call: Call, entries: list[dict[str, Any]]) -> list[int]:
        self._countable(len(entries), 50)
        statuses, earned = [], 0
        for entry in entries:
            user, fee = entry["user"], entry["totalFee"]
            status, unsettled = self._settle(self.accounts, call.sender, entry)
            if status <= PARTIAL and unsettled < fee:
                earned += fee - unsettled
                self._tell(user, call.sender)
            statuses.append(status)
            self.emit("TEESettlementResult", user=user, status=status, unsettledAmount=unsettled)
        if earned:
            self._pay(call.sender, earned)
        return statuses

    def _settle(self, accounts: dict[tuple[str, str], Account], sender: str, entry: dict[str, Any]) -> tuple[int, int]:
        """One entry: its status, and what of the fee stays unsettled."""
        user, fee, nonce = entry["user"], entry["totalFee"], entry["nonce"]
        if entry["provider"] != sender:
            return PROVIDER_MISMATCH, fee
        message = (self.address, sender, user, fee, nonce, entry["requestsHash"])
        account = accounts.get((user, sender))
        status = self._status(account, sender, nonce, message, entry["signature"])
        if status != SUCCESS or account is None:
            return status, fee
        paid = min(fee, account.balance)
        account.charge(nonce, paid)
        return (PARTIAL if paid < fee else SUCCESS), fee - paid

    def _countable(self, count: int, most: int) -> None:
        require(count > 0, "NoSettlementsProvided")
        require(count <= most, "TooManySettlements", count=count, max=most)

    def settle_batch_with_tee(self, call: Call, rows: list[dict[str, Any]], signature: bytes) -> list[int]:
        self._countable(len(rows), 200)
        message = (self.address, call.sender, tuple(tuple(sorted(row.items())) for row in rows))
        packed, earned = [0, 0, 0, 0], 0
        for at, row in enumerate(rows):
            user, fee = unpack_row(row["userAndFee"])
            account = self.accounts.get((user, call.sender))
            status = self._status(account, call.sender, row["nonce"], message, signature)
            paid = 0
            if status == SUCCESS and account is not None:
                paid = min(fee, account.balance)
                account.charge(row["nonce"], paid)
                earned += paid
                status = PARTIAL if paid < fee else SUCCESS
            packed[at // 64] |= status << 4 * (at % 64)
            balance = account.balance if account else 0
            self.emit("BatchRowSettled", user=user, status=status, paid=paid, balance=balance)
        self.emit("BatchSettled", provider=call.sender, rows=len(rows), paid=earned)
        if earned:
            self._pay(call.sender, earned)
        return packed

    def _status(self, account: Account | None, provider: str, nonce: int, message: Any, signature: bytes) -> int:
        offer = self.offers.get(provider)
        if account is None or not account.open:
            return INVALID_SIGNATURE
        if offer is None:
            return PROVIDER_MISMATCH
        if not (account.acknowledged and offer.confirmed and offer.signer != ZERO):
            return NO_TEE_SIGNER
        if not account.nonce < nonce <= MAX_NONCE:
            return INVALID_NONCE
        if not self.network.signed_by(offer.signer, message, signature):
            return INVALID_SIGNATURE
        return SUCCESS

    def revoke_token(self, call: Call, provider: str, token: int) -> None:
        self.account(call.sender, provider).revoked |= 1 << token
        self.emit("TokenRevoked", user=call.sender, provider=provider, tokenId=token)

    def revoke_tokens(self, call: Call, provider: str, tokens: list[int]) -> None:
        account = self.account(call.sender, provider)
        for token in tokens:
            account.revoked |= 1 << token
        self.emit("TokensRevoked", user=call.sender, provider=provider, tokenIds=tokens)

    def revoke_all_tokens(self, call: Call, provider: str) -> None:
        account = self.account(call.sender, provider)
        account.generation += 1
        account.revoked = 0
        self.emit("AllTokensRevoked", user=call.sender, provider=provider, newGeneration=account.generation)

    def is_token_revoked(self, call: Call, user: str, provider: str, token: int) -> bool:
        return bool(self.account(user, provider).revoked >> token & 1)

    def service_exists(self, call: Call, provider: str) -> bool:
        return provider in self.offers

    def get_all_services(self, call: Call, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        return self._page_of_offers(offset, limit)

    def preview_settlement_results(
        self, call: Call, entries: list[dict[str, Any]]
    ) -> tuple[list[str], list[int], list[str], list[int]]:
        """Who would fail and why; who would be paid in part, and what would stay unsettled: tried on a copy."""
        self._countable(len(entries), 50)
        tried = pickle.loads(pickle.dumps(self.accounts))
        found: tuple[list[str], list[int], list[str], list[int]] = ([], [], [], [])
        for entry in entries:
            status, unsettled = self._settle(tried, call.sender, entry)
            if status > PARTIAL:
                found[0].append(entry["user"])
                found[1].append(status)
            elif status == PARTIAL:
                found[2].append(entry["user"])
                found[3].append(unsettled)
        return found

    def get_batch_accounts_by_users(self, call: Call, users: list[str]) -> list[dict[str, Any]]:
        """The answer has room for 500 accounts with five refunds each; descriptions take some of it."""
        found = super().get_batch_accounts_by_users(call, users)
        room = 500 * WORD_BYTES * (13 + 4 * 5)
        for fitting, one in enumerate(found):
            words = 13 + 4 * len(one["refunds"]) + -(-len(one["additionalInfo"].encode()) // WORD_BYTES)
            room -= WORD_BYTES * words
            require(room >= 0, "BatchSizeTooLarge", size=len(users), max=fitting)
        return found

    def _not_too_many(self, users: int) -> None:
        require(users <= 500, "BatchSizeTooLarge", size=users, max=500)

    def _not_too_long(self, limit: int) -> None:
        require(limit <= MAX_PAGE, "LimitTooLarge", limit=limit, max=MAX_PAGE)

    def _listed(self, user: str, provider: str) -> dict[str, Any]:
        account = self.accounts.get((user, provider), Account())
        return {
            "user": user,
            "provider": provider,
            "nonce": account.nonce,
            "balance": account.balance,
            "pendingRefund": account.pending,
            "refunds": refunds(account, "processed"),
            "additionalInfo": account.info,
            "acknowledged": account.acknowledged,
            "validRefundsLength": len(account.refunds),
            "generation": account.generation,
            "revokedBitmap": account.revoked,
        }

    def _shown(self, user: str, provider: str) -> dict[str, Any]:
        return self._listed(user, provider)

    def _offered(self, provider: str) -> dict[str, Any]:
        offer = self.offers[provider]
        told = {"provider": provider, "updatedAt": offer.updated, "teeSignerAcknowledged": offer.confirmed}
        return told | offer.terms


# Fine-tuning


@dataclass
class FineTuning(Service):
    penalty: int = 30
    removed_event_key: str = "provider"
    payout_error: str = "ETHTransferFailed"

    def _only_ledger(self, call: Call) -> None:
        require(call.sender == self.ledger, "CallerNotLedger")

    def _parties_and_info(self, user: str, provider: str, info: str) -> None:
        require(len(info) <= MAX_INFO, "AdditionalInfoTooLong")
        self._parties(user, provider)

    def update_lock_time(self, call: Call, seconds: int) -> None:
        self.only_owner(call)
        require(HOUR <= seconds <= WEEK, "LockTimeOutOfRange", lockTime=seconds)
        if seconds != self.lock_time:
            self.emit("LockTimeUpdated", oldLockTime=self.lock_time, newLockTime=seconds)
            self.lock_time = seconds

    def update_penalty_percentage(self, call: Call, percentage: int) -> None:
        self.only_owner(call)
        require(percentage <= 100, "PenaltyPercentageTooHigh", percentage=percentage)
        self.penalty = percentage

    def add_or_update_service(
        self, call: Call, url: str, quota: dict[str, Any], price: int, occupied: bool, models: list[str], signer: str
    ) -> None:
        offer = self._staked(call)
        for text, most in ((url, MAX_URL), (quota["gpuType"], MAX_SHORT)):
            require(len(text) <= most, "TextTooLong", length=len(text), max=most)
        require(len(models) <= MAX_MODELS, "TooManyItems", count=len(models), max=MAX_MODELS)
        for number in ("cpuCount", "nodeMemory", "gpuCount", "nodeStorage"):
            require(quota[number] <= MAX_QUOTA, "AmountTooLarge", amount=quota[number], max=MAX_QUOTA)
        for model in models:
            require(len(model) <= MAX_SHORT, "TextTooLong", length=len(model), max=MAX_SHORT)
        if offer.signer != signer:
            offer.confirmed = False
        offer.signer = signer
        told = {"url": url, "quota": quota, "pricePerToken": price, "teeSignerAddress": signer, "occupied": occupied}
        offer.terms = told | {"models": models}
        self.emit("ServiceUpdated", provider=call.sender, **told)

    def add_deliverable(self, call: Call, user: str, name: str, root: bytes) -> None:
        require(0 < len(name) <= MAX_ID, "DeliverableIdInvalidLength", length=len(name))
        require(len(root) <= MAX_ROOT, "TextTooLong", length=len(root), max=MAX_ROOT)
        account = self.account(user, call.sender)
        kept = account.deliverables
        require(all(one.id != name for one in kept), "DeliverableAlreadyExists", id=name)
        if kept:
            blocks = not (kept[-1].acknowledged or kept[-1].settled)
            require(not blocks, "PreviousDeliverableNotAcknowledged", id=kept[-1].id)
        full = len(kept) == MAX_DELIVERABLES
        if full:
            require(kept[0].settled, "CannotEvictUnsettledDeliverable", id=kept[0].id)
        if full:
            self.emit(
                "DeliverableEvicted",
                provider=call.sender,
                user=user,
                evictedDeliverableId=kept.pop(0).id,
                newDeliverableId=name,
                timestamp=self.now,
            )
            account.evicted += 1
        kept.append(Deliverable(name, root, self.now))
        self.emit(
            "DeliverableAdded",
            user=user,
            provider=call.sender,
            deliverableId=name,
            modelRootHash=root,
            timestamp=self.now,
        )

    def acknowledge_deliverable(self, call: Call, provider: str, name: str) -> None:
        account = self.account(call.sender, provider)
        found = self._find(account, name)
        require(not found.settled, "CannotAcknowledgeSettledDeliverable", id=name)
        found.acknowledged, account.penalised = True, False
        self.emit(
            "DeliverableAcknowledged", user=call.sender, provider=provider, deliverableId=name, timestamp=self.now
        )

    def abandon_deliverable(self, call: Call, user: str, name: str) -> None:
        found = self._find(self.account(user, call.sender), name)
        require(not found.settled, "CannotAbandonSettledDeliverable", id=name)
        found.acknowledged = found.settled = True
        self.emit("DeliverableAbandoned", user=user, provider=call.sender, deliverableId=name, timestamp=self.now)

    def settle_fees(self, call: Call, settled: dict[str, Any]) -> None:
        def verified(condition: bool, reason: str) -> None:
            require(condition, "InvalidVerifierInput", reason=reason)

        user, fee, nonce, secret = (settled[key] for key in ("user", "taskFee", "nonce", "encryptedSecret"))
        account, offer = self.account(user, call.sender), self.offer(call.sender)
        confirmed = account.acknowledged and offer.confirmed and offer.signer != ZERO
        verified(confirmed, "TEE signer not acknowledged")
        verified(account.nonce < nonce <= MAX_NONCE, "nonce should larger than the current nonce")
        verified(account.balance >= fee, "insufficient balance")
        found = self._find(account, settled["id"])
        require(not found.settled, "DeliverableAlreadySettled", id=found.id)
        verified(found.root == settled["modelRootHash"], "model root hash mismatch")
        message = (self.address, found.id, secret, found.root, nonce, fee, user)
        verified(
            self.network.signed_by(offer.signer, message, settled["signature"]), "TEE settlement validation failed"
        )
        if found.acknowledged:
            require(len(secret) != 0, "SecretShouldNotBeEmpty")
            require(len(secret) <= MAX_SECRET, "TextTooLong", length=len(secret), max=MAX_SECRET)
            found.secret = secret
        else:
            require(len(secret) == 0, "SecretShouldBeEmpty")
            require(not account.penalised, "UserActionRequired", user=user, provider=call.sender)
            account.penalised = True
            fee = fee * self.penalty // 100
        found.settled = True
        account.charge(nonce, fee)
        self.emit(
            "FeesSettled",
            user=user,
            provider=call.sender,
            deliverableId=found.id,
            fee=fee,
            acknowledged=found.acknowledged,
            nonce=nonce,
        )
        self._tell(user, call.sender)
        self._pay(call.sender, fee)

    def _find(self, account: Account, name: str) -> Deliverable:
        for deliverable in account.deliverables:
            if deliverable.id == name:
                return deliverable
        raise Refused("DeliverableNotExists", id=name)

    def get_deliverable(self, call: Call, user: str, provider: str, name: str) -> dict[str, Any]:
        return delivered(self._find(self.account(user, provider), name))

    def get_deliverables(self, call: Call, user: str, provider: str) -> list[dict[str, Any]]:
        return [delivered(one) for one in self.account(user, provider).deliverables]

    def get_services(self, call: Call, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        return self._page_of_offers(offset, limit)

    def get_all_services(self, call: Call) -> list[dict[str, Any]]:
        return self._page_of_offers(0, 0)[0]

    def _not_too_many(self, users: int) -> None:
        require(users <= 50, "BatchSizeTooLarge", size=users, maxSize=50)

    def _not_too_long(self, limit: int) -> None:
        require(limit <= MAX_PAGE, "LimitTooLarge", limit=limit)

    def _listed(self, user: str, provider: str) -> dict[str, Any]:
        account = self.accounts.get((user, provider), Account())
        return {
            "user": user,
            "provider": provider,
            "nonce": account.nonce,
            "balance": account.balance,
            "pendingRefund": account.pending,
            "additionalInfo": account.info,
            "validRefundsLength": len(account.refunds),
            "deliverablesCount": len(account.deliverables),
            "acknowledged": account.acknowledged,
        }

    def _shown(self, user: str, provider: str) -> dict[str, Any]:
        account = self.accounts[user, provider]
        return self._listed(user, provider) | {
            "refunds": refunds(account, "_deprecated_processed"),
            "deliverables": [delivered(one) for one in account.deliverables],
            "deliverablesHead": account.evicted % MAX_DELIVERABLES,
        }

    def _offered(self, provider: str) -> dict[str, Any]:
        offer = self.offers[provider]
        return {"provider": provider, "teeSignerAcknowledged": offer.confirmed} | offer.terms


def delivered(one: Deliverable) -> dict[str, Any]:
    return {
        "id": one.id,
        "modelRootHash": one.root,
        "encryptedSecret": one.secret,
        "acknowledged": one.acknowledged,
        "timestamp": one.timestamp,
        "settled": one.settled,
    }


def refunds(account: Account, flag: str) -> list[dict[str, Any]]:
    return [
        {"index": index, "amount": refund.amount, "createdAt": refund.created, flag: False}
        for index, refund in enumerate(account.refunds)
    ]


def passed_on(ask: Callable[..., Any], *args: Any, sender: str = "", value: int = 0) -> Any:
    """Ask a service; what it refuses with is the ledger's refusal, and `CallFailed` where it says nothing."""
    try:
        return ask(Call(sender, value), *args)
    except Refused as refused:
        raise (refused if refused.reason[0] else Refused("CallFailed")) from None


def short_page(entries: list[Any], offset: int, limit: int) -> list[Any]:
    """At most 50 entries; no limit means 50."""
    return entries[offset : offset + min(limit or MAX_PAGE, MAX_PAGE)]


def remove(entries: list[Any], entry: Any) -> None:
    """Remove by moving the last entry into the gap, as all listings do."""
    at = entries.index(entry)
    last = entries.pop()
    if at < len(entries):
        entries[at] = last


def unpack_row(user_and_fee: int) -> tuple[str, int]:
    """The user's address and the fee in wei of a compact row."""
    from serving_network.addresses import to_checksum_address

    return to_checksum_address((user_and_fee >> 96).to_bytes(20, "big")), user_and_fee & (2**96 - 1)
