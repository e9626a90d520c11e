# SPDX-License-Identifier: Apache-2.0
"""The compiled ABIs are the wire format, and what is added to it is listed here, line by line.

`wire_interface.txt` is the interface that clients of the live network were built against. Names, argument names,
types, components of structs, results, indexed flags, mutability, errors, receive and fallback must all agree.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serving_network.contracts import load

WIRE = Path(__file__).with_name("wire_interface.txt")

OWNERSHIP = {
    "function acceptOwnership()",
    "function offerOwnership(address newOwner)",
    "function pendingOwner() view returns (address)",
    "event OwnershipTransferStarted(address indexed previousOwner, address indexed newOwner)",
}
ACCOUNT_BOOK = {
    "function lockedBalance(address user) view returns (uint256)",
    "function providerCount(address user) view returns (uint256)",
    "function providersOf(address user) view returns (address[])",
}
BOTH_SERVICES = {
    "constructor (uint256 minProviderStake)",
    "function acknowledgeTEESignerByOwner(address provider, address expectedSigner)",
    "error AccountNotEmpty(address user, address provider, uint256 balance)",
    "error AmountTooLarge(uint256 amount, uint256 max)",
    "error PayoutInProgress()",
    "error TextTooLong(uint256 length, uint256 max)",
    "error UnexpectedTEESigner(address provider, address expected, address actual)",
}
SERVICE_INFO = (
    "(address serviceAddress, address serviceContract, string serviceType, string version, string fullName, "
    "string description, bool isRecommended, uint256 registeredAt)"
)
SERVICE = (
    "(address provider, string url, (uint256 cpuCount, uint256 nodeMemory, uint256 gpuCount, uint256 nodeStorage, "
    "string gpuType) quota, uint256 pricePerToken, bool occupied, string[] models, address teeSignerAddress, "
    "bool teeSignerAcknowledged)"
)
BATCH = "(uint256 userAndFee, uint256 nonce, bytes32 requestsHash)[] rows, bytes signature"

ADDED: Mapping[str, set[str]] = {
    "LedgerManager": {
        *OWNERSHIP,
        "constructor (uint256 minAccountBalance, uint256 minTransferAmount)",
        "function getActiveServices(uint256 offset, uint256 limit) view "
        f"returns ({SERVICE_INFO}[] infos, uint256 total)",
        "function getVersionsPaged(string serviceType, uint256 offset, uint256 limit) view "
        "returns (string[] versions, address[] addresses, bool[] flags, uint256 total)",
        "function refundAll()",
        "event Deposited(address indexed user, address indexed payer, uint256 amount, uint256 availableBalance)",
        "event FundsRetrieved(address indexed user, address indexed service, uint256 amount, uint256 availableBalance)",
        "event FundsTransferred(address indexed user, address indexed provider, address indexed service, "
        "uint256 amount, uint256 cancelledRefund)",
        "event LedgerCreated(address indexed user)",
        "event LedgerDeleted(address indexed user)",
        "event Refunded(address indexed user, uint256 amount, uint256 availableBalance)",
        "error AmountTooLarge(uint256 amount, uint256 max)",
        "error RefundMismatch(uint256 received, uint256 reported)",
        "error ServiceNotAnswering(address service)",
        "error TextTooLong(uint256 length, uint256 max)",
    },
    "InferenceServing": {
        *OWNERSHIP,
        *ACCOUNT_BOOK,
        *BOTH_SERVICES,
        f"function settleBatchWithTEE({BATCH}) returns (uint256[4] statuses)",
        "event BatchRowSettled(address indexed user, uint8 status, uint256 paid, uint256 balance)",
        "event BatchSettled(address indexed provider, uint256 rows, uint256 paid)",
    },
    "FineTuningServing": {
        *OWNERSHIP,
        *ACCOUNT_BOOK,
        *BOTH_SERVICES,
        f"function getServices(uint256 offset, uint256 limit) view returns ({SERVICE}[] services, uint256 total)",
        "error InvalidAddress(address addr)",
        "error ProviderCannotBeUser()",
        "error TooManyItems(uint256 count, uint256 max)",
        "error UserActionRequired(address user, address provider)",
    },
    "UpgradeableBeacon": {
        *OWNERSHIP,
        "function attach(address front)",
        "function front() view returns (address)",
        "event FrontAttached(address indexed front)",
        "error NotAFrontOfThisBeacon(address front)",
    },
    "BeaconProxy": set(),
}

# The live implementations take no constructor arguments; ours take the minimums.
REPLACED: Mapping[str, set[str]] = {
    "LedgerManager": {"constructor ()"},
    "InferenceServing": {"constructor ()"},
}


@pytest.mark.parametrize("name", ADDED)
def test_the_abi_is_the_wire_format_and_the_listed_additions(name: str) -> None:
    wire = _wire()[name]
    assert not wire & ADDED[name]
    ours = {_line(entry) for entry in load(name).abi}
    promised = (wire - REPLACED.get(name, set())) | ADDED[name]
    assert {"missing": promised - ours, "unlisted": ours - promised} == {"missing": set(), "unlisted": set()}


@pytest.mark.parametrize("name", ADDED)
def test_no_line_stands_twice_in_an_abi(name: str) -> None:
    lines = [_line(entry) for entry in load(name).abi]
    assert len(lines) == len(set(lines))


def test_every_contract_of_the_wire_format_is_compared() -> None:
    assert _wire().keys() == ADDED.keys()


def _wire() -> dict[str, set[str]]:
    contracts: dict[str, set[str]] = {}
    for line in WIRE.read_text().splitlines():
        if line.startswith("## "):
            contracts[line.removeprefix("## ")] = lines = set()
        else:
            lines.add(line)
    return contracts


def _line(entry: Mapping[str, Any]) -> str:
    kind, inputs = entry["type"], ", ".join(map(_parameter, entry.get("inputs", [])))
    space = " " if kind in ("constructor", "receive", "fallback") else f" {entry['name']}"
    line = f"{kind}{space}({inputs})"
    if entry.get("stateMutability", "nonpayable") != "nonpayable":
        line += f" {entry['stateMutability']}"
    if entry.get("outputs"):
        line += f" returns ({', '.join(map(_parameter, entry['outputs']))})"
    return line


def _parameter(parameter: Mapping[str, Any]) -> str:
    kind = parameter["type"]
    if kind.startswith("tuple"):
        kind = f"({', '.join(map(_parameter, parameter['components']))}){kind.removeprefix('tuple')}"
    if parameter.get("indexed"):
        kind += " indexed"
    return f"{kind} {parameter['name']}".rstrip()
