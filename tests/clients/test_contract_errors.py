# SPDX-License-Identifier: Apache-2.0
"""Every error of every contract has its class, and every byte of revert data becomes an exception."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from serving_network.contracts import errors as contract_errors
from serving_network.contracts.artifacts import load, names
from serving_network.contracts.errors import (
    AdditionalInfoTooLong,
    CallerNotOfferedOwner,
    CallerNotOwner,
    ImplementationNotContract,
    InvalidVerifierInput,
    LedgerNotExists,
    LockTimeOutOfRange,
    MinimumDepositRequired,
    NewOwnerIsZero,
    TEESignerNotAcknowledged,
    VerifierBalanceTooLow,
)
from serving_network.contracts.errors.base import DeclaredError, Signature
from serving_network.contracts.old_calls import OLD_CALLS, recognise_call, recognise_typed_data
from serving_network.contracts.reverts import (
    ContractPanic,
    RevertedWithMessage,
    RevertedWithoutReason,
    UnknownContractError,
    explain_revert,
    selectors,
)
from serving_network.errors import ContractError

ERRORS = sorted(
    {
        (entry["name"], tuple(one["type"] for one in entry["inputs"]), tuple(one["name"] for one in entry["inputs"]))
        for name in names()
        for entry in load(name).abi
        if entry["type"] == "error"
    }
)
SAMPLES: dict[str, Any] = {"uint256": 3 * 10**18, "address": "0x" + "11" * 20, "string": "text"}


def revert(signature: str, *values: object) -> bytes:
    parsed = Signature.parse(signature)
    return parsed.selector + encode(parsed.types, values)


def test_the_contracts_declare_errors() -> None:
    assert len(ERRORS) > 60


@pytest.mark.parametrize(("name", "types", "arguments"), ERRORS)
def test_every_error_of_every_contract_has_its_class(
    name: str, types: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    data = keccak(text=f"{name}({','.join(types)})")[:4] + encode(types, [SAMPLES[one] for one in types])
    error = explain_revert(data)
    assert type(error).__name__ == name
    assert error.data == data
    assert error.message
    assert "{" not in error.message
    assert error.next_step
    known = {"maxSize": "max", "_lockTime": "lockTime"}  # two spellings of one selector on the wire
    for argument in arguments:
        assert hasattr(error, known.get(argument, argument)), argument
    assert bool(error.as_dict()["arguments"]) == bool(arguments)


def test_every_class_belongs_to_an_error_of_a_contract() -> None:
    declared = {f"{name}({','.join(types)})" for name, types, _ in ERRORS}
    ours = {f"{signature.name}({','.join(signature.types)})" for _, signature in selectors().values()}
    assert ours - declared == set()


def test_every_class_can_be_imported_from_one_place() -> None:
    for kind, _ in selectors().values():
        assert getattr(contract_errors, kind.__name__) is kind
        assert kind.__name__ in contract_errors.__all__


def test_amounts_are_shown_in_coins() -> None:
    error = explain_revert(revert("MinimumDepositRequired(uint256 a, uint256 b)", 10**17, 3 * 10**18))
    assert isinstance(error, MinimumDepositRequired)
    assert (error.provided, error.required) == (10**17, 3 * 10**18)
    assert "0.1 coins" in str(error)
    assert "3 coins" in str(error)


def test_addresses_have_their_checksum() -> None:
    error = explain_revert(revert("LedgerNotExists(address a)", "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"))
    assert isinstance(error, LedgerNotExists)
    assert error.user == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def test_two_forms_of_one_error() -> None:
    long = explain_revert(revert("AdditionalInfoTooLong(uint256 a, uint256 b)", 5000, 4096))
    short = explain_revert(revert("AdditionalInfoTooLong()"))
    assert isinstance(long, AdditionalInfoTooLong)
    assert isinstance(short, AdditionalInfoTooLong)
    assert (long.length, short.length) == (5000, None)
    one = explain_revert(revert("LockTimeOutOfRange(uint256 a)", 60))
    assert isinstance(one, LockTimeOutOfRange)
    assert (one.lockTime, one.min, one.max) == (60, 3600, 604_800)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("TEE signer not acknowledged", TEESignerNotAcknowledged),
        ("insufficient balance", VerifierBalanceTooLow),
        ("something new", InvalidVerifierInput),
    ],
)
def test_the_reasons_of_a_refused_settlement(reason: str, kind: type[InvalidVerifierInput]) -> None:
    error = explain_revert(revert("InvalidVerifierInput(string a)", reason))
    assert type(error) is kind
    assert error.reason == reason


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Ownable: caller is not the owner", CallerNotOwner),
        ("Ownable: new owner is the zero address", NewOwnerIsZero),
        ("Ownable2Step: caller is not the new owner", CallerNotOfferedOwner),
        ("UpgradeableBeacon: implementation is not a contract", ImplementationNotContract),
        ("something else", RevertedWithMessage),
    ],
)
def test_plain_messages(message: str, kind: type[ContractError]) -> None:
    assert type(explain_revert(revert("Error(string a)", message))) is kind


def test_the_messages_are_those_in_the_contracts() -> None:
    sources = "".join(path.read_text() for path in Path("contracts").rglob("*.vy"))
    for kind in contract_errors.OwnershipError.__subclasses__():
        assert f'"{kind.text}"' in sources


def test_a_panic() -> None:
    error = explain_revert(revert("Panic(uint256 a)", 0x11))
    assert isinstance(error, ContractPanic)
    assert "overflow" in str(error)


def test_a_message_that_is_not_utf8() -> None:
    error = explain_revert(bytes.fromhex("08c379a0") + encode(["bytes"], [b"not \xff here"]))
    assert isinstance(error, RevertedWithMessage)
    assert error.text == "not \\xff here"


def test_empty_and_unknown_revert_data() -> None:
    assert isinstance(explain_revert(b""), RevertedWithoutReason)
    unknown = explain_revert(bytes.fromhex("deadbeef00"))
    assert isinstance(unknown, UnknownContractError)
    assert "0xdeadbeef00" in str(unknown)


@given(st.binary(max_size=200), st.sampled_from([b"", *selectors()]))
def test_any_revert_data_is_explained(data: bytes, selector: bytes) -> None:
    error = explain_revert(selector + data)
    assert isinstance(error, ContractError)
    assert error.data == selector + data
    assert error.as_dict()["message"]


def test_declared_errors_can_be_constructed() -> None:
    error: DeclaredError = LedgerNotExists(user=SAMPLES["address"])
    assert error.next_step == "serving ledger open AMOUNT"


@pytest.mark.parametrize("old", OLD_CALLS, ids=lambda old: str(old.signature))
def test_old_calls_are_recognised_and_new_ones_are_not(old: Any) -> None:
    data = keccak(text=old.signature)[:4] + bytes(64)
    assert recognise_call(data) is old
    assert all(load(name).interface.decode_call(data[:4]) is None for name in names() if name != "BeaconProxy")


def test_old_typed_data_is_recognised() -> None:
    old = {
        "types": {"VerifierMessage": [{"name": "id", "type": "string"}, {"name": "providerSigner", "type": "address"}]}
    }
    new = {"types": {"VerifierMessage": [{"name": "id", "type": "string"}]}}
    assert "providerSigner" in str(recognise_typed_data(old))
    assert recognise_typed_data(new) is None
    assert recognise_typed_data({}) is None
