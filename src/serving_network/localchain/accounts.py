# SPDX-License-Identifier: Apache-2.0
"""The ten accounts of the standard development mnemonic. Their keys are public knowledge."""

from __future__ import annotations

from functools import lru_cache

from eth_account.hdaccount import key_from_seed, seed_from_mnemonic
from eth_keys.datatypes import PrivateKey

MNEMONIC = "test test test test test test test test test test test junk"
DERIVATION_PATH = "m/44'/60'/0'/0/{index}"
COUNT = 10


@lru_cache(maxsize=1)
def development_keys() -> tuple[PrivateKey, ...]:
    """The private keys of the ten accounts, in order."""
    seed = seed_from_mnemonic(MNEMONIC, "")
    return tuple(PrivateKey(key_from_seed(seed, DERIVATION_PATH.format(index=index))) for index in range(COUNT))
