# SPDX-License-Identifier: Apache-2.0
"""What no event tells, and where the index reads it: in the transaction's calldata if it called the contract itself,
else from the contract as of the event's block.

| event | what is read |
|---|---|
| ServiceRegistered | type, version and description of the service; whether it has an account book |
| Initialized of a service | its lock time and penalty |
| the first event of a beacon | its implementation |
| ServiceUpdated | TEE signer and additional information (inference), models (fine-tuning) |
| LedgerCreated | the additional information of the ledger |
| FeesSettled without acknowledgement | the penalty in force |
| a change of an account after which it may be without acknowledgement | whether the user acknowledges the TEE signer |
| the same of fine-tuning, and FeesSettled | the penalty flag too |

An account that has coins is acknowledged: a deposit acknowledges it, and the contract rejects a withdrawal until the
account is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from serving_network.contracts.models import FINE_TUNING, INFERENCE, Status, artifact_of
from serving_network.explorer.index.account_words import slot_of
from serving_network.explorer.index.calls import BEACON, SERVICE
from serving_network.explorer.index.questions import Asked, Question, Word

if TYPE_CHECKING:
    from serving_network.contracts.codec import Decoded
    from serving_network.explorer.index.events import Event, Followed
    from serving_network.explorer.index.settled import Group
    from serving_network.explorer.index.steps import Transaction

ACCOUNT_BOOK: Final = bytes.fromhex("1ffc15d2")
"""The interface of a service that keeps its own account book."""


ACCEPTED: Final = (Status.SUCCESS, Status.PARTIAL)
_REJECTED_FOR_THE_ACCOUNT: Final = (Status.NO_TEE_SIGNER, Status.INVALID_NONCE)
"""A row with one of these statuses has an account, and its contract looked at the acknowledgement."""
_OF_ACCOUNTS: Final = frozenset(
    {"RefundRequested", "DeliverableAdded", "DeliverableAcknowledged", "DeliverableAbandoned", "DeliverableEvicted"}
)
"""Events of accounts that do not tell the acknowledgement."""


class Change(Enum):
    """Why a balance changed."""

    DEPOSIT = auto()
    TASK = auto()
    ENTRY = auto()
    PAYOUT = auto()


def balance_change(event: Event, at: Mapping[int, Event]) -> tuple[Change, Event | None]:
    """Why BalanceUpdated was emitted, and the event beside it that tells. `at` are the events by position."""
    before, after = at.get(event.position - 1), at.get(event.position + 1)
    if before is not None and before.name == "FundsTransferred":
        moved = before.args
        if (moved["service"], moved["user"], moved["provider"]) == (event.contract.address, event.user, event.provider):
            return Change.DEPOSIT, before
    if before is not None and before.name == "FeesSettled" and before.contract == event.contract:
        return Change.TASK, before
    if (
        after is not None
        and after.name == "TEESettlementResult"
        and after.contract == event.contract
        and after.user == event.user
        and after.args["status"] in ACCEPTED
    ):
        return Change.ENTRY, after
    return Change.PAYOUT, None


def questions_about(
    events: Sequence[Event],
    transactions: Mapping[str, Transaction],
    found: Iterable[Followed],
    groups: Iterable[Group],
) -> list[Asked]:
    """Everything that has to be asked for these events. `found` are contracts that they announce."""
    asked: list[Asked] = []
    beacons = {one.address for one in found if one.role == BEACON}
    for event in events:
        if event.contract.address in beacons:
            beacons.discard(event.contract.address)
            asked.append(implementation(event.contract, event))
        asked += _questions(event, transactions[event.tx])
    for event, user, provider in _untold_flags(events, groups):
        if event.contract.kind in (INFERENCE, FINE_TUNING):
            asked.append(account(event, user, provider))
        if event.contract.kind == FINE_TUNING:
            asked.append(account_word(event, user, provider))
    return asked


def _untold_flags(events: Sequence[Event], groups: Iterable[Group]) -> Iterator[tuple[Event, str, str]]:
    """The events after which the flags of an account are unknown, with its user and provider."""
    at = {event.position: event for event in events}
    for event in events:
        if event.contract.role != SERVICE or event.user is None or event.provider is None:
            continue
        if event.name == "BalanceUpdated":
            change, _ = balance_change(event, at)
            if event.args["amount"] == 0 or change in (Change.TASK, Change.PAYOUT):
                yield event, event.user, event.provider
        elif event.name in _OF_ACCOUNTS:
            yield event, event.user, event.provider
    for group in groups:
        for event, provider in group.rows:
            status = event.args["status"]
            emptied = status in ACCEPTED and event.args.get("balance") == 0
            if event.user is not None and provider is not None and (emptied or status in _REJECTED_FOR_THE_ACCOUNT):
                yield event, event.user, provider


def _questions(event: Event, transaction: Transaction) -> list[Question]:
    contract = event.contract
    match contract.role, event.name:
        case "ledger", "ServiceRegistered":
            return [account_book(event)]
        case "ledger", "LedgerCreated" if direct_call(event, transaction) is None:
            return [ledger(event)]
        case "service", "Initialized":
            return [lock_time(event), penalty(event)]
        case "service", "ServiceUpdated" if registration_call(event, transaction) is None:
            return [registration(event)]
        case "service", "FeesSettled" if not event.args["acknowledged"]:
            return [penalty(event)]
    return []


def account_book(event: Event) -> Question:
    """Whether a service has an account book."""
    address = event.args["serviceAddress"]
    return Question("InferenceServing", address, "supportsInterface", (ACCOUNT_BOOK,), event.block)


def ledger(event: Event) -> Question:
    """The user's ledger."""
    return Question("LedgerManager", event.contract.address, "getLedger", (event.args["user"],), event.block)


def lock_time(event: Event) -> Question:
    """The lock time of the service."""
    return Question("FineTuningServing", event.contract.address, "lockTime", (), event.block)


def penalty(event: Event) -> Question:
    """The penalty of the service, in percent."""
    return Question("FineTuningServing", event.contract.address, "penaltyPercentage", (), event.block)


def registration(event: Event) -> Question:
    """What the provider has registered in the service that emitted ServiceUpdated."""
    abi = "FineTuningServing" if "quota" in event.args else "InferenceServing"
    return Question(abi, event.contract.address, "getService", (event.provider,), event.block)


def account(event: Event, user: str, provider: str) -> Question:
    """A user's account with a provider."""
    contract = event.contract
    return Question(artifact_of(contract.kind), contract.address, "getAccount", (user, provider), event.block)


def account_word(event: Event, user: str, provider: str) -> Word:
    """The word of an account in the storage of fine-tuning."""
    return Word(event.contract.address, slot_of(user, provider), event.block)


def implementation(beacon: Followed, event: Event) -> Question:
    """The implementation of a beacon at its first event: the constructor does not log it."""
    return Question("UpgradeableBeacon", beacon.address, "implementation", (), event.block)


def direct_call(event: Event, transaction: Transaction) -> Decoded | None:
    """The call in the transaction's input if it calls the contract that emitted the event."""
    return transaction.call if transaction.recipient == event.contract.address else None


def registration_call(event: Event, transaction: Transaction) -> dict[str, Any] | None:
    """What the provider registered, as its own transaction says; None if it called through a contract."""
    call = direct_call(event, transaction)
    if call is None or call.name != "addOrUpdateService" or transaction.sender != event.provider:
        return None
    return call.args if "quota" in call.args else next(iter(call.args.values()))
