# SPDX-License-Identifier: Apache-2.0
"""Check that the parts of a record fit together, which manual edits may have broken."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from serving_network.addresses import to_checksum_address
from serving_network.contracts import artifacts
from serving_network.deployment.bytecode import FRONT, IMPLEMENTATIONS
from serving_network.deployment.calls import call_data, step_data
from serving_network.deployment.effects import CHECKED_FUNCTIONS
from serving_network.deployment.layout import Layout
from serving_network.deployment.record import Instruction, Pending, Record, RecordedContract, Step
from serving_network.deployment.steps import known_addresses, resolve
from serving_network.errors import ServingError

BEACON: Final = "UpgradeableBeacon"
SOMEWHERE: Final = "0x" + "0" * 40
"""Stands for a contract that a step still has to create."""


def check_sense(record: Record) -> tuple[str, str] | None:
    """The place where the record is inconsistent, and why; None if it is consistent."""
    for where, check in _checks(record):
        try:
            problem = check()
        except (KeyError, ValueError, TypeError, AttributeError, ServingError) as error:
            problem = f"{error.args[0]!r} is not known" if isinstance(error, KeyError) else str(error)
        if problem is not None:
            return where, problem
    return None


def _checks(record: Record) -> Iterator[tuple[str, Callable[[], str | None]]]:
    for name, contract in record.contracts.items():
        yield f"contracts.{name}", partial(_contract, name, contract, record)
    if record.pending is not None:
        for place, step in enumerate(record.pending.steps):
            yield f"pending.steps.{place}", partial(_step, step, record.pending, record)
    for place, one in enumerate(record.open_instructions):
        yield f"instructions.{place}", partial(_instruction, one, record)


def _contract(name: str, contract: RecordedContract, record: Record) -> str | None:
    parts = (contract.front.contract, contract.beacon.contract, contract.implementation.contract)
    if parts[:2] != (FRONT, BEACON) or parts[2] not in IMPLEMENTATIONS:
        return f"it consists of {', '.join(parts)}"
    if (name == "ledger") != (parts[2] == "LedgerManager"):
        return f"{name} cannot be a {parts[2]}"
    if name != "ledger":
        if "ledger" not in record.contracts:
            return "there is a service but no ledger"
        int(contract.initial["locktime"])
        int(contract.initial.get("penaltyPercentage", "0"))
    for code in (contract.implementation, *contract.former, *([contract.prepared] if contract.prepared else [])):
        Layout.from_artifact(code.storage_layout)
    return None


def _step(step: Step, pending: Pending, record: Record) -> str | None:
    attempts = [one.signed for one in step.attempts]
    if len({one.nonce for one in attempts}) > 1:
        return "its attempts have different nonces"
    if (step.action == "call") != (step.function is not None and step.to is not None):
        return f"it is not a {step.action}"
    if step.contract not in artifacts.names():
        return f"there is no contract {step.contract}"
    if step.action == "call" and step.function not in CHECKED_FUNCTIONS:
        return f"no plan calls {step.function}"
    addresses = {one.id: SOMEWHERE for one in pending.steps if one.action == "create"} | known_addresses(record)
    if step.to is not None and step.to.startswith("@") and step.to[1:] not in addresses:
        return f"{step.to} is unknown"
    to = None if step.to is None else to_checksum_address(resolve(step.to, addresses))
    expected = {"to": to, "data": step_data(step, addresses), "value": 0}
    for one in attempts:
        if one.sender != pending.sender or one.chain_id not in (None, record.chain_id):
            return f"it was signed by {one.sender} for chain {one.chain_id}"
        if _addresses_stand(pending, step, one.nonce) and (wrong := one.differences(expected)):
            return f"its signed transaction has another {' and another '.join(wrong)} than the step"
    return None


def _addresses_stand(pending: Pending, step: Step, nonce: int) -> bool:
    """Whether the steps before this one still create what a transaction with this nonce was signed for: after a
    reorganisation they may have been signed again, with a later nonce and so for another address."""
    before = pending.steps[: pending.steps.index(step)]
    return all(
        one.address is not None and all(other.signed.nonce < nonce for other in one.attempts)
        for one in before
        if one.action == "create"
    )


def _instruction(one: Instruction, record: Record) -> str | None:
    if one.function not in CHECKED_FUNCTIONS:
        return f"no plan calls {one.function}"
    record.contract(one.subject)
    made = "0x" + call_data(artifacts.load(one.contract), one.function, one.arguments).hex()
    return None if made == one.data else "its calldata does not match its function and arguments"
