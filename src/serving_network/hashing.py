# SPDX-License-Identifier: Apache-2.0
"""Keccak-256, in C where there are wheels for it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Hasher(Protocol):
    """The hash of bytes that arrive in parts."""

    def update(self, data: bytes) -> None:
        """Add a part."""

    def digest(self) -> bytes:
        """The hash of the parts so far: 32 bytes."""


def _fastest() -> tuple[Callable[[bytes], bytes], Callable[[], Hasher]]:
    if find_spec("sha3") is None:
        from eth_hash.auto import keccak

        return keccak, lambda: keccak.new(b"")
    from sha3 import keccak_256

    def hashed(data: bytes) -> bytes:
        digest: bytes = keccak_256(data).digest()
        return digest

    return hashed, keccak_256


keccak, new_hasher = _fastest()
