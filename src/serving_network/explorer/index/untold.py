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
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from serving_network.explorer.index.calls import BEACON
from serving_network.explorer.index.questions import Question

if TYPE_CHECKING:
    from serving_network.contracts.codec import Decoded
    from serving_network.explorer.index.events import Event, Followed
    from serving_network.explorer.index.steps import Transaction

ACCOUNT_BOOK: Final = bytes.fromhex("1ffc15d2")
"""The interface of a service that keeps its own account book."""


def questions_about(
    events: Sequence[Event], transactions: Mapping[str, Transaction], found: Iterable[Followed]
) -> list[Question]:
    """Everything that has to be asked for these events. `found` are contracts that they announce."""
    asked = []
    beacons = {one.address for one in found if one.role == BEACON}
    for event in events:
        if event.contract.address in beacons:
            beacons.discard(event.contract.address)
            asked.append(implementation(event.contract, event))
        asked += _questions(event, transactions[event.tx])
    return asked


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
