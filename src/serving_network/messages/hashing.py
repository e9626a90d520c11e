# SPDX-License-Identifier: Apache-2.0
"""Keccak-256 of what is signed, in C where there are wheels for it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec


def _fastest() -> Callable[[bytes], bytes]:
    if find_spec("sha3") is None:
        from eth_hash.auto import keccak

        return keccak
    from sha3 import keccak_256

    def hashed(data: bytes) -> bytes:
        digest: bytes = keccak_256(data).digest()
        return digest

    return hashed


keccak = _fastest()
"""The hash of some bytes: 32 bytes."""
