# SPDX-License-Identifier: Apache-2.0
"""Files for the Transaction Builder of a Safe multisig (format 1.0).

The builder shows the calls of an imported file with their decoded arguments, and warns if the checksum does not match,
so that the signers notice a change of the file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving_network.hashing import keccak

BUILDER_VERSION = "1.18.2"


@dataclass(frozen=True)
class SafeCall:
    """One call of a batch: `method` is the function's ABI entry, `arguments` its values by name, as text;
    `value` in wei."""

    to: str
    method: Mapping[str, Any]
    arguments: Mapping[str, str]
    value: int = 0


def batch(
    calls: Sequence[SafeCall], *, chain_id: int, safe: str, name: str, description: str, created_at_ms: int
) -> dict[str, Any]:
    """The content of a Transaction Builder file for the multisig at `safe`, with its checksum."""
    content: dict[str, Any] = {
        "version": "1.0",
        "chainId": str(chain_id),
        "createdAt": created_at_ms,
        "meta": {
            "name": name,
            "description": description,
            "txBuilderVersion": BUILDER_VERSION,
            "createdFromSafeAddress": safe,
            "createdFromOwnerAddress": "",
        },
        "transactions": [_transaction(call) for call in calls],
    }
    content["meta"]["checksum"] = checksum(content)
    return content


def checksum(content: Mapping[str, Any]) -> str:
    """The checksum that the builder computes: over everything except the batch's name and the checksum itself."""
    meta = {key: value for key, value in content["meta"].items() if key != "checksum"}
    return "0x" + keccak(_canonical({**content, "meta": {**meta, "name": None}}).encode()).hex()


def _transaction(call: SafeCall) -> dict[str, Any]:
    inputs = [{"internalType": one["type"], "name": one["name"], "type": one["type"]} for one in call.method["inputs"]]
    return {
        "to": call.to,
        "value": str(call.value),
        "data": None,
        "contractMethod": {
            "inputs": inputs,
            "name": call.method["name"],
            "payable": call.method.get("stateMutability") == "payable",
        },
        "contractInputsValues": dict(call.arguments),
    }


def _canonical(value: Any) -> str:
    if isinstance(value, Mapping):
        keys = sorted(value)
        return "{" + _text(keys) + "".join(_canonical(value[key]) + "," for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_canonical(one) for one in value) + "]"
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
