# SPDX-License-Identifier: Apache-2.0
"""Small contracts for these tests, written in instructions."""

from __future__ import annotations

from typing import Any

from eth_utils import keccak

from serving_network.localchain import EmbeddedChain
from serving_network.localchain.interpreter import MNEMONICS

_NUMBERS = {name: number for number, name in MNEMONICS.items()}


def assemble(text: str) -> bytes:
    """Assemble instructions and 0x data, separated by white space. `@name` is a label, `:name` pushes it."""
    places: dict[str, int] = {}
    holes: list[tuple[int, str]] = []
    code = bytearray()
    for word in text.split():
        if word.startswith("0x"):
            code += bytes.fromhex(word[2:])
        elif word.startswith("@"):
            places[word[1:]] = len(code)
            code.append(_NUMBERS["JUMPDEST"])
        elif word.startswith(":"):
            code.append(_NUMBERS["PUSH2"])
            holes.append((len(code), word[1:]))
            code += b"\0\0"
        else:
            code.append(_NUMBERS[word])
    for position, name in holes:
        code[position : position + 2] = places[name].to_bytes(2, "big")
    return bytes(code)


def creation(runtime: bytes) -> bytes:
    """Creation code that deploys `runtime`."""
    return assemble(f"PUSH2 0x{len(runtime):04x} DUP1 PUSH1 0x0a PUSH0 CODECOPY PUSH0 RETURN") + runtime


def deploy(chain: EmbeddedChain, text: str) -> str:
    """Create a contract from instructions; returns its address."""
    sent = {"from": chain.accounts[0], "data": "0x" + creation(assemble(text)).hex(), "gas": hex(5_000_000)}
    receipt = chain.request("eth_getTransactionReceipt", [chain.request("eth_sendTransaction", [sent])])
    assert receipt["status"] == "0x1"
    address: str = receipt["contractAddress"]
    return address


def word(number: int) -> str:
    """A 32-byte word as a 0x string."""
    return f"0x{number:064x}"


def send(chain: EmbeddedChain, to: str | None, data: str = "0x", **fields: Any) -> dict[str, Any]:
    """Send from the first account and return the receipt."""
    asked = {"from": chain.accounts[0], "data": data, "gas": hex(1_000_000)} | fields
    if to is not None:
        asked["to"] = to
    receipt: dict[str, Any] = chain.request(
        "eth_getTransactionReceipt", [chain.request("eth_sendTransaction", [asked])]
    )
    return receipt


def gas_of(receipt: dict[str, Any]) -> int:
    return int(receipt["gasUsed"], 16)


def topic(text: str) -> str:
    """The topic of an event with this signature."""
    return "0x" + keccak(text=text).hex()


# Stores the second word of the input in the slot given by the first word.
STORE = "PUSH1 0x20 CALLDATALOAD PUSH0 CALLDATALOAD SSTORE STOP"

# Returns the value of the slot given by the input.
LOAD = "PUSH0 CALLDATALOAD SLOAD PUSH0 MSTORE PUSH1 0x20 PUSH0 RETURN"

# With two words of input it stores, with one it loads.
STORE_OR_LOAD = f"CALLDATASIZE PUSH1 0x20 LT :store JUMPI {LOAD} @store {STORE}"

# Reverts with its input as data.
REVERT = "CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY CALLDATASIZE PUSH0 REVERT"

# Emits an event with the first word of the input as topic and the rest as data.
EMIT = (
    "PUSH1 0x20 CALLDATASIZE SUB PUSH1 0x20 PUSH0 CALLDATACOPY "
    "PUSH0 CALLDATALOAD PUSH1 0x20 CALLDATASIZE SUB PUSH0 LOG1 STOP"
)
