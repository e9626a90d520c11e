# SPDX-License-Identifier: Apache-2.0
"""Whether the code at an address was built by this project.

Vyper appends immutable values to the code that the compiler reports, so code on chain begins with the artifact's. The
front is assembled by hand: 165 bytes, of which 20 are the address of its beacon and the others are always the same.
"""

from typing import Any

from serving_network.addresses import to_canonical_address
from serving_network.contracts import load
from serving_network.hashing import keccak

FRONT = "BeaconProxy"
IMPLEMENTATIONS = ("LedgerManager", "InferenceServing", "FineTuningServing")
_BEACON_AT = slice(1, 21)


def artifact_hash(contract: str) -> str:
    """Keccak of a contract's creation code without arguments, as hex."""
    return code_hash(load(contract).bytecode)


def code_hash(code: bytes) -> str:
    """Keccak of code, as the chain's own `extcodehash`, as hex."""
    return "0x" + keccak(code).hex()


def code_problem(contract: str, code: bytes, beacon: str | None = None) -> str | None:
    """Why code on chain is not that of the contract, regardless of immutable values; None if it is.

    A front must have this `beacon`, if it is given.
    """
    if not code:
        return "has no code"
    if contract == FRONT and beacon is not None:
        return None if code == front_code(beacon) else f"is not a front of the beacon {beacon}"
    artifact = load(contract)
    immutables = _immutables_size(artifact.storage_layout.get("code_layout", {}))
    if code[: len(artifact.deployed_bytecode)] != artifact.deployed_bytecode:
        return f"has other code than {contract}"
    if len(code) != len(artifact.deployed_bytecode) + immutables:
        return f"has {len(code)} bytes where {contract} has {len(artifact.deployed_bytecode) + immutables}"
    return None


def front_code(beacon: str) -> bytes:
    """The code of the front of this beacon."""
    code = bytearray(load(FRONT).deployed_bytecode)
    code[_BEACON_AT] = to_canonical_address(beacon)
    return bytes(code)


def beacon_of(code: bytes) -> bytes | None:
    """The address of the beacon in the code of a front; None for any other code."""
    template = load(FRONT).deployed_bytecode
    if len(code) != len(template) or code[:1] != template[:1] or code[21:] != template[21:]:
        return None
    return code[_BEACON_AT]


def implementation_of(code: bytes) -> str | None:
    """Which implementation of this package's build the code is; None for any other code."""
    return next((name for name in IMPLEMENTATIONS if code_problem(name, code) is None), None)


def _immutables_size(layout: dict[str, Any]) -> int:
    """The size of the immutable values behind the code, in bytes."""
    end = 0
    for node in layout.values():
        if "offset" in node and "length" in node:
            end = max(end, int(node["offset"]) + int(node["length"]))
        else:
            end = max(end, _immutables_size(node))
    return end
