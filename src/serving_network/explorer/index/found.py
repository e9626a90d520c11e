# SPDX-License-Identifier: Apache-2.0
"""What the index answers, as typed values. Amounts are in wei, times in seconds since 1970, addresses with checksum.

`read_at` is the block at which a value was read that no event tells, None if everything is from events and calldata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some entries of a list, newest first unless stated otherwise. `after` continues the list; None at its end."""

    entries: tuple[T, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where and when on the chain something happened. `position` orders everything; `tx` is the transaction's hash."""

    position: int
    block: int
    log_index: int
    time: int
    tx: str


@dataclass(frozen=True, slots=True)
class Tip:
    """The network of an index, and the last block that it read. `block` is -1 if it has read none.

    `head` was the node's newest block when the follower last asked, at the unix time `looked_at` (0: never).
    """

    chain_id: int
    ledger: str
    block: int
    hash: str
    time: int
    head: int
    looked_at: int
    reorganisations: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A value of the index that is not what the contracts answer. Amounts are decimal text of wei."""

    contract: str
    what: str
    indexed: str
    answered: str


@dataclass(frozen=True, slots=True)
class Coins:
    """What a contract holds, and what it owes according to the index, in wei."""

    contract: str
    name: str
    held: int
    owed: int

    @property
    def surplus(self) -> int:
        """What is held beyond what is owed: 0, or more if somebody forced coins in. Never less."""
        return self.held - self.owed


@dataclass(frozen=True, slots=True)
class Checked:
    """A reconciliation with the contracts at a block, made at the unix time `at`.

    `differences` are the first of `different`, their number. `compared` counts what was compared, by kind.
    `unanswered` names the services that do not answer what others do, so that they could not be compared.
    """

    block: int
    hash: str
    at: int
    compared: dict[str, int]
    different: int
    differences: tuple[Difference, ...]
    coins: tuple[Coins, ...]
    unanswered: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the index is what the contracts answer, and every contract holds at least what it owes."""
        return not self.different and all(one.surplus >= 0 for one in self.coins)


@dataclass(frozen=True, slots=True)
class ServiceTotals:
    """The sums of one service contract. `held` is what the ledger counts for a service without an account book."""

    service: str
    name: str
    kind: str
    accounts: int
    providers: int
    balances: int
    pending: int
    stakes: int
    held: int
    settlements: int
    paid: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of the whole network."""

    ledgers: int
    available: int
    services: tuple[ServiceTotals, ...]

    @property
    def balances(self) -> int:
        return sum(one.balances for one in self.services)

    @property
    def stakes(self) -> int:
        return sum(one.stakes for one in self.services)

    @property
    def paid(self) -> int:
        return sum(one.paid for one in self.services)

    @property
    def settlements(self) -> int:
        return sum(one.settlements for one in self.services)


@dataclass(frozen=True, slots=True)
class Version:
    """A registered service contract. `description` is that of the registry."""

    address: str
    name: str
    kind: str
    type: str
    version: str
    description: str
    recommended: bool
    registered: Place
    owner: str | None
    pending_owner: str | None
    lock_time: int | None
    penalty: int | None
    beacon: str | None
    implementation: str | None
    upgrade_owner: str | None


@dataclass(frozen=True, slots=True)
class OfferVersion:
    """What a provider registered in a service, from `since` on. Prices are wei per token.

    Fine-tuning has one price, `input_price`. `model` is the model's name; fine-tuning has `models`. `until` is None
    for what is still registered.
    """

    service: str
    service_name: str
    kind: str
    provider: str
    url: str
    input_price: int
    output_price: int | None
    model: str
    models: tuple[str, ...]
    details: dict[str, Any]
    signer: str | None
    confirmed: bool
    info: str | None
    since: Place
    until: int | None
    read_at: int | None


@dataclass(frozen=True, slots=True)
class RefundFound:
    """A pending refund. It can be paid from `unlocks_at` on, None if the service's lock time is unknown."""

    amount: int
    created_at: int
    unlocks_at: int | None


@dataclass(frozen=True, slots=True)
class AccountFound:
    """A user's account with a provider, current or as of a past version. `since` is its last change."""

    service: str
    service_name: str
    user: str
    provider: str
    balance: int
    pending: int
    refunds: tuple[RefundFound, ...]
    nonce: int | None
    acknowledged: bool
    penalised: bool
    info: str
    since: Place
    until: int | None
    read_at: int | None


@dataclass(frozen=True, slots=True)
class LedgerFound:
    """A user's ledger. `held` is what the user has in services without an account book."""

    user: str
    available: int
    in_accounts: int
    held: int
    info: str
    since: Place
    read_at: int | None

    @property
    def total(self) -> int:
        return self.available + self.in_accounts + self.held


@dataclass(frozen=True, slots=True)
class BatchFound:
    """A call that settled rows together. `key` identifies it; `form` is "batch" or "entries".

    The gas is that of the whole transaction, `gas_cost` in wei.
    """

    key: int
    service: str
    service_name: str
    provider: str | None
    form: str
    size: int
    accepted: int
    paid: int
    fee: int | None
    through_contract: bool
    gas_used: int | None
    gas_cost: int | None
    at: Place


@dataclass(frozen=True, slots=True)
class CallFound:
    """A transaction with events. `function` and `args` are None if its input calls no known function of a followed
    contract; `contract_name` is None if its recipient is not followed."""

    hash: str
    at: Place
    sender: str
    recipient: str | None
    contract_name: str | None
    value: int
    input: bytes
    gas_used: int | None
    gas_cost: int | None
    function: str | None
    args: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class DeliverableFound:
    """A delivered model. `state` is added, acknowledged, abandoned, settled or penalised."""

    service: str
    service_name: str
    user: str
    provider: str
    id: str
    root_hash: str
    added_at: int
    state: str
    paid: int | None
    since: Place


@dataclass(frozen=True, slots=True)
class Oddity:
    """An event that contradicts the others or cannot be decoded, and what is wrong with it."""

    contract: str
    contract_name: str
    what: str
    at: Place


@dataclass(frozen=True, slots=True)
class Hit:
    """A result of a search. `kind` is user, provider, contract, service, transaction or block; `key` identifies it."""

    kind: str
    key: str
    label: str
