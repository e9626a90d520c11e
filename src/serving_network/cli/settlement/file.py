"""Signed settlements as files of JSON, as a provider's TEE hands them out.

Inference: a list of {"user", "totalFee", "requestsHash", "nonce", "signature"}; fine-tuning: one object
{"id", "user", "taskFee", "modelRootHash", "encryptedSecret", "nonce", "signature"}. Fees are whole wei or
texts with a unit; hashes, secrets and signatures are 0x and hexadecimal digits.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from serving_network.chain.networks import parse_address
from serving_network.cli.arguments import parse_data
from serving_network.clients.provider import SignedSettlement
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.money import parse_wei
from serving_network.settlement.typed_data import UserSettlement, VerifierMessage

if TYPE_CHECKING:
    from pathlib import Path


def read_settlements(path: Path) -> list[SignedSettlement]:
    """The inference settlements in a file. Raises ConfigurationError."""
    told = _read(path)
    try:
        found = [
            SignedSettlement(
                UserSettlement(
                    user=parse_address(one["user"]),
                    total_fee=_fee(one["totalFee"]),
                    nonce=int(one["nonce"]),
                    requests_hash=parse_data(one["requestsHash"]),
                ),
                parse_data(one["signature"]),
            )
            for one in told
        ]
        for one in found:
            one.settlement.struct_hash()
    except (KeyError, TypeError, ValueError, InvalidInput) as error:
        raise _unfit(path, error) from error
    if not found:
        raise ConfigurationError(f"{path} holds no settlement.", next_step="Give another file.")
    return found


def read_task(path: Path, *, signed: bool = True) -> tuple[VerifierMessage, bytes]:
    """The fine-tuning settlement in a file; without `signed`, nonce and signature may be missing.

    Raises ConfigurationError.
    """
    told = _read(path)
    try:
        message = VerifierMessage(
            id=told["id"],
            encrypted_secret=parse_data(told["encryptedSecret"]),
            model_root_hash=parse_data(told["modelRootHash"]),
            nonce=int(told["nonce"]) if signed else 0,
            task_fee=_fee(told["taskFee"]),
            user=parse_address(told["user"]),
        )
        message.struct_hash()
        return message, parse_data(told["signature"]) if signed else b""
    except (KeyError, TypeError, ValueError, InvalidInput) as error:
        raise _unfit(path, error) from error


def _fee(value: Any) -> int:
    return parse_wei(value) if isinstance(value, str) else int(value)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} cannot be read.", cause=str(error), next_step=f"Mend {path}") from error


def _unfit(path: Path, error: Exception) -> ConfigurationError:
    cause = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
    return ConfigurationError(f"{path} does not describe a settlement.", cause=cause, next_step=f"Mend {path}")
