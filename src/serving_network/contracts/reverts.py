# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a revert to the exception that explains them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils import to_checksum_address

from serving_network.contracts.errors import DeclaredError, InvalidVerifierInput, OwnershipError
from serving_network.contracts.errors.base import Signature
from serving_network.errors import ContractError
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGE_SELECTOR = bytes.fromhex("08c379a0")  # Error(string)
PANIC_SELECTOR = bytes.fromhex("4e487b71")  # Panic(uint256)

MEANING_OF_PANIC = {
    0x01: "an assertion failed",
    0x11: "an arithmetic overflow or underflow",
    0x12: "a division by zero",
    0x21: "a value outside its enumeration",
    0x32: "an index outside its list",
    0x41: "too much memory",
}


class RevertedWithMessage(ContractError):
    """A plain message that has no class of its own. `text` is the message."""

    def __init__(self, text: str, *, data: bytes = b"") -> None:
        super().__init__(
            f"The contract refused: {printable(text)}", data=data, next_step="Check the arguments, or: serving doctor"
        )
        self.text = text


class ContractPanic(ContractError):
    """The contract stopped on a fault inside it, as Solidity reports them. `code` is the panic code."""

    def __init__(self, code: int, *, data: bytes = b"") -> None:
        super().__init__(
            f"The contract stopped on {MEANING_OF_PANIC.get(code, 'a fault')} (panic 0x{code:02x}).",
            data=data,
            next_step="Check the amounts, or: serving doctor",
        )
        self.code = code


class RevertedWithoutReason(ContractError):
    """The call failed and returned no data: an unknown function, or input that cannot be decoded."""

    def __init__(self) -> None:
        super().__init__(
            "The contract refused without a reason: it has no such function, or cannot read the arguments.",
            next_step="serving doctor",
        )


class UnknownContractError(ContractError):
    """Revert data that no error of the network explains; `data` is what came."""

    def __init__(self, data: bytes) -> None:
        super().__init__(
            f"The contract refused with an error that this program does not know: {printable('0x' + data.hex())}",
            data=data,
            next_step="Check that the address is a contract of this network: serving registry list",
        )


def explain_revert(data: bytes) -> ContractError:
    """The exception for this revert data. Never fails: what it cannot decode becomes UnknownContractError."""
    if not data:
        return RevertedWithoutReason()
    try:
        error = _decode(data)
    except (DecodingError, OverflowError, ValueError):
        return UnknownContractError(data)
    error.data = data
    return error


def selectors() -> dict[bytes, tuple[type[DeclaredError], Signature]]:
    """Every selector that has a class, with the signature it stands for."""
    return dict(_by_selector())


def _decode(data: bytes) -> ContractError:
    selector, body = data[:4], data[4:]
    if selector == MESSAGE_SELECTOR:
        (text,) = decode(["string"], body)
        known = _by_message().get(text)
        return known() if known else RevertedWithMessage(text)
    if selector == PANIC_SELECTOR:
        (code,) = decode(["uint256"], body)
        return ContractPanic(code)
    if selector not in _by_selector():
        return UnknownContractError(data)
    kind, signature = _by_selector()[selector]
    values = decode(signature.types, body)
    arguments: dict[str, Any] = {
        name: to_checksum_address(value) if type_ == "address" else value
        for name, type_, value in zip(signature.arguments, signature.types, values, strict=True)
    }
    if kind is InvalidVerifierInput:
        kind = _by_verifier_reason().get(arguments["reason"], InvalidVerifierInput)
    return kind(**arguments)


def _subclasses(kind: type[DeclaredError]) -> Iterator[type[DeclaredError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


@cache
def _by_selector() -> dict[bytes, tuple[type[DeclaredError], Signature]]:
    table: dict[bytes, tuple[type[DeclaredError], Signature]] = {}
    for kind in _subclasses(DeclaredError):
        for text in kind.__dict__.get("wire", ()):
            signature = Signature.parse(text)
            table[signature.selector] = (kind, signature)
    return table


@cache
def _by_message() -> dict[str, type[OwnershipError]]:
    return {kind.text: kind for kind in OwnershipError.__subclasses__()}


@cache
def _by_verifier_reason() -> dict[str, type[InvalidVerifierInput]]:
    return {kind.__dataclass_fields__["reason"].default: kind for kind in InvalidVerifierInput.__subclasses__()}
