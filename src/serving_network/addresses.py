# SPDX-License-Identifier: Apache-2.0
"""Addresses as 20 bytes and as text, with the checksum of EIP-55.

eth-utils has the same functions, but its import loads pydantic and takes longer than most commands run.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from serving_network.errors import InvalidInput, NotAnAddress
from serving_network.hashing import keccak
from serving_network.untrusted import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eth_typing import Address, ChecksumAddress

_ADDRESS = re.compile(r"(?:0x)?([0-9a-f]{40})", re.IGNORECASE | re.ASCII)
_UPPER_FROM = "8"
"""The smallest digit of the hash that makes the letter in its place a capital."""


def is_hex_address(text: object) -> bool:
    """Whether it is text of 40 hexadecimal digits, with or without 0x, whatever their case."""
    return isinstance(text, str) and _ADDRESS.fullmatch(text) is not None


def is_checksum_address(text: object) -> bool:
    """Whether it is an address with 0x whose capitals are its checksum."""
    return isinstance(text, str) and is_hex_address(text) and text == to_checksum_address(text)


def to_canonical_address(address: str | bytes) -> Address:
    """The 20 bytes of an address. Raises NotAnAddress."""
    return bytes.fromhex(_digits(address))  # type: ignore[return-value]


@lru_cache(maxsize=65536)
def to_checksum_address(address: str | bytes) -> ChecksumAddress:
    """The address as text with its checksum. Raises NotAnAddress."""
    digits = _digits(address)
    marks = keccak(digits.encode()).hex()
    cased = (one.upper() if mark >= _UPPER_FROM else one for one, mark in zip(digits, marks, strict=False))
    return "0x" + "".join(cased)  # type: ignore[return-value]


def several(addresses: Sequence[str]) -> list[str]:
    """The addresses as a list. Raises InvalidInput for one address, which is also a sequence of texts."""
    if isinstance(addresses, str | bytes):
        raise InvalidInput(
            f"{quoted(addresses)} stands in place of a list of addresses.",
            next_step="Pass a list, also for one address.",
        )
    return list(addresses)


def _digits(address: str | bytes) -> str:
    """The 40 digits of an address in lower case."""
    text = address.hex() if isinstance(address, bytes) else address
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise NotAnAddress(f"{quoted(address)} is not an address.", next_step="Write 0x and 40 hexadecimal digits.")
    return found[1].lower()
