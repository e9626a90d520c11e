# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from typing import Any
from unittest.mock import patch

import pytest
from eth_hash.auto import keccak as of_pycryptodome

from serving_network import hashing

EMPTY = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


@pytest.mark.parametrize("length", [0, 1, 66, 135, 136, 137, 576])
def test_the_hash_is_keccak_and_not_sha3(length: int) -> None:
    data = bytes(range(256)) * 3
    assert hashing.keccak(b"").hex() == EMPTY
    assert hashing.keccak(data[:length]) == of_pycryptodome(data[:length])
    in_parts = hashing.new_hasher()
    for start in range(0, length, 60):
        in_parts.update(data[start : min(start + 60, length)])
        in_parts.digest()
    assert in_parts.digest() == of_pycryptodome(data[:length])


def test_without_the_fast_library_the_hash_is_the_same() -> None:
    found = importlib.util.find_spec

    def without_sha3(name: str, *rest: Any) -> ModuleSpec | None:
        return None if name == "sha3" else found(name, *rest)

    with patch.object(hashing, "find_spec", without_sha3):
        slow, new_hasher = hashing._fastest()
    assert slow(b"").hex() == new_hasher().digest().hex() == EMPTY
