# SPDX-License-Identifier: Apache-2.0
"""Read signed settlements from the JSON files that a provider's TEE issues.

Inference: a list of {"user", "totalFee", "requestsHash", "nonce", "signature"}; fine-tuning: one object
{"id", "user", "taskFee", "modelRootHash", "encryptedSecret", "nonce", "signature"}. Fees are whole wei or
strings with a unit; hashes, secrets and signatures are 0x and hexadecimal digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.cli.console.arguments import parse_data
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.files import unreadable
from serving_network.money import parse_wei
from serving_network.networks import parse_address
from serving_network.untrusted import parse_json, printable, reason_of

if TYPE_CHECKING:
    from pathlib import Path

    from serving_network.clients.provider import SignedSettlement
    from serving_network.messages.typed_data import VerifierMessage


def read_settlements(path: Path) -> list[SignedSettlement]:
    """The inference settlements in a file. Raises ConfigurationError."""
    from serving_network.clients.provider import SignedSettlement
    from serving_network.messages.typed_data import UserSettlement

    content = _read(path)
    try:
        found = [
            SignedSettlement(
                UserSettlement(
                    user=parse_address(_of_text(one, "user")),
                    total_fee=_fee(one["totalFee"]),
                    nonce=_whole(one["nonce"]),
                    requests_hash=parse_data(_of_text(one, "requestsHash")),
                ),
                parse_data(_of_text(one, "signature")),
            )
            for one in content
        ]
        for one in found:
            one.settlement.struct_hash()
    except (KeyError, TypeError, ValueError, InvalidInput) as error:
        raise _unfit(path, error) from error
    if not found:
        raise ConfigurationError(f"{path} contains no settlement.", next_step="Give another file.")
    return found


def read_task(path: Path, *, signed: bool = True) -> tuple[VerifierMessage, bytes]:
    """The fine-tuning settlement in a file; without `signed`, nonce and signature may be missing.

    Raises ConfigurationError.
    """
    from serving_network.messages.typed_data import VerifierMessage

    content = _read(path)
    try:
        message = VerifierMessage(
            id=_of_text(content, "id"),
            encrypted_secret=parse_data(_of_text(content, "encryptedSecret")),
            model_root_hash=parse_data(_of_text(content, "modelRootHash")),
            nonce=_whole(content["nonce"]) if signed else 0,
            task_fee=_fee(content["taskFee"]),
            user=parse_address(_of_text(content, "user")),
        )
        message.struct_hash()
        return message, parse_data(_of_text(content, "signature")) if signed else b""
    except (KeyError, TypeError, ValueError, InvalidInput) as error:
        raise _unfit(path, error) from error


def _fee(value: Any) -> int:
    return parse_wei(value) if isinstance(value, str) else _whole(value)


def _whole(value: Any) -> int:
    """A whole number, as a number or string. A fraction is an error, never rounded."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 100:
        return int(value)
    if type(value) is not int or value < 0:
        raise ValueError(f"{printable(value)} is not a whole number")
    return value


def _of_text(one: Any, name: str) -> str:
    if not isinstance(one[name], str):
        raise TypeError(f"{name} is {printable(one[name])}")
    return str(one[name])


def _read(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(ConfigurationError, path, error, "JSON") from error


def _unfit(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"{path} does not describe a settlement.",
        cause=f"{reason_of(error)}.",
        next_step=f"Fix {path} and run again.",
    )
