# SPDX-License-Identifier: Apache-2.0
"""Explain failed calls: from a node's error or the bytes of a revert to an exception, or to a sentence.

The bytes are decoded by `Interface.decode_error`, from the signatures that the exceptions declare.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from serving_network.contracts.codec import Interface
from serving_network.contracts.errors import DeclaredError, InvalidVerifierInput, OwnershipError
from serving_network.contracts.errors.base import Signature
from serving_network.errors import ContractError, RpcError
from serving_network.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving_network.contracts.codec import Decoded

PANICS: Final = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}
"""The meaning of each code of `Panic(uint256)`, in geth's words."""


class RevertedWithMessage(ContractError):
    """A plain message that has no class of its own. `text` is the message."""

    def __init__(self, text: str, *, data: bytes = b"") -> None:
        super().__init__(
            f"The contract refused: {printable(text)}",
            data=data,
            next_step="Check the arguments, or run: serving doctor",
        )
        self.text = text


class ContractPanic(ContractError):
    """The contract stopped on an internal fault, as Solidity reports it. `code` is the panic code."""

    def __init__(self, code: int, *, data: bytes = b"") -> None:
        super().__init__(
            f"The contract panicked: {PANICS.get(code, 'unknown reason')} (code 0x{code:02x}).",
            data=data,
            next_step="Check the amounts, or run: serving doctor",
        )
        self.code = code


class RevertedWithoutReason(ContractError):
    """The call failed and returned no data: the function is unknown, or its input cannot be decoded."""

    def __init__(self) -> None:
        super().__init__(
            "The contract gave no reason for its refusal: it has no such function, or cannot decode the arguments.",
            next_step="serving doctor",
        )


class UnknownContractError(ContractError):
    """Revert data that matches no error of the network; `data` is that data."""

    def __init__(self, data: bytes) -> None:
        super().__init__(
            f"The contract refused with an unknown error: {printable('0x' + data.hex())}",
            data=data,
            next_step="Check that the address is a contract of this network: serving registry list",
        )


def explain_refusal(refusal: RpcError) -> ContractError | RpcError:
    """The contract's error inside a node's error, or the node's error itself if no contract refused."""
    data = _revert_data(refusal.data)
    if data is not None:
        return explain_revert(data)
    if "revert" in str(refusal).lower():
        return explain_revert(b"")
    return refusal


def explain_revert(data: bytes) -> ContractError:
    """The exception for this revert data. Never fails: data that cannot be decoded becomes UnknownContractError."""
    if not data:
        return RevertedWithoutReason()
    decoded = _declared().decode_error(data)
    if decoded is None:
        return UnknownContractError(data)
    error = _exception(data[:4], decoded)
    error.data = data
    return error


def standard_reason(data: bytes) -> str | None:
    """The text in `Error(string)`, or the meaning of the code in `Panic(uint256)`; None for any other revert data."""
    match _standard().decode_error(data):
        case ("Error", {"message": str(text)}):
            return text
        case ("Panic", {"code": int(code)}):
            return PANICS.get(code, f"unknown panic code: {hex(code)}")
        case _:
            return None


def selectors() -> dict[bytes, tuple[type[DeclaredError], Signature]]:
    """Every selector that has a class, with the signature it stands for."""
    return dict(_by_selector())


def _revert_data(attached: Any) -> bytes | None:
    """The revert data, which nodes put at the top of an error's `data`, inside an object, or after a word."""
    if isinstance(attached, dict):
        attached = attached.get("data") or attached.get("result")
    if not isinstance(attached, str):
        return None
    start = attached.find("0x")
    try:
        return bytes.fromhex(attached[start + 2 :]) if start >= 0 else None
    except ValueError:
        return None


def _exception(selector: bytes, decoded: Decoded) -> ContractError:
    if selector not in _by_selector():
        match decoded:
            case ("Error", {"message": text}):
                known = _by_message().get(text)
                return known() if known else RevertedWithMessage(text)
            case _:
                return ContractPanic(decoded.args["code"])
    kind, _ = _by_selector()[selector]
    if kind is InvalidVerifierInput:
        kind = _by_verifier_reason().get(decoded.args["reason"], InvalidVerifierInput)
    return kind(**decoded.args)


@cache
def _declared() -> Interface:
    """The codec of every error that has a class, and of the two standard ones."""
    return Interface(
        {
            "type": "error",
            "name": signature.name,
            "inputs": [
                {"name": name, "type": type_} for name, type_ in zip(signature.arguments, signature.types, strict=True)
            ],
        }
        for _, signature in _by_selector().values()
    )


@cache
def _standard() -> Interface:
    """The codec of `Error(string)` and `Panic(uint256)` alone."""
    return Interface(())


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
