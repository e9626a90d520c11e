# SPDX-License-Identifier: Apache-2.0
"""Blocks and receipts, their hashes, and the next base fee."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import rlp
from eth_utils import keccak
from trie.hexary import HexaryTrie

from .evm import Log
from .transactions import LEGACY, DecodedTransaction

EMPTY_ROOT = keccak(rlp.encode(b""))
EMPTY_UNCLES_HASH = keccak(rlp.encode([]))
NO_HASH = bytes(32)
NO_NONCE = bytes(8)
ELASTICITY = 2
BASE_FEE_CHANGE = 8
BLOOM_BYTES = 256


@dataclass(frozen=True)
class BlockReceipt:
    """The result of a transaction in its block. `created` is the address of a new contract."""

    success: bool
    gas_used: int
    cumulative_gas_used: int
    effective_gas_price: int
    logs: tuple[Log, ...]
    first_log_index: int
    created: bytes | None
    bloom: int

    def encode(self, kind: int) -> bytes:
        """The receipt as encoded for the receipts root; `kind` is the type of its transaction."""
        logs = [[log.address, log.topics, log.data] for log in self.logs]
        bloom = self.bloom.to_bytes(BLOOM_BYTES, "big")
        encoded: bytes = rlp.encode([int(self.success), self.cumulative_gas_used, bloom, logs])
        return encoded if kind == LEGACY else bytes([kind]) + encoded


@dataclass(frozen=True)
class Block:
    """A block with its transactions. `timestamp` is in unix seconds, `base_fee` in wei per gas.

    `state_root` is that of `StateRoots` after the block; `version` is the `World` commit that this block created.
    """

    number: int
    parent_hash: bytes
    timestamp: int
    gas_limit: int
    gas_used: int
    base_fee: int
    coinbase: bytes
    randomness: bytes
    state_root: bytes
    transactions: tuple[DecodedTransaction, ...]
    receipts: tuple[BlockReceipt, ...]
    transactions_root: bytes
    receipts_root: bytes
    bloom: int
    version: int
    hash: bytes = b""

    @property
    def encoded_header(self) -> bytes:
        encoded: bytes = rlp.encode(
            [
                self.parent_hash,
                EMPTY_UNCLES_HASH,
                self.coinbase,
                self.state_root,
                self.transactions_root,
                self.receipts_root,
                self.bloom.to_bytes(BLOOM_BYTES, "big"),
                0,
                self.number,
                self.gas_limit,
                self.gas_used,
                self.timestamp,
                b"",
                self.randomness,
                NO_NONCE,
                self.base_fee,
                EMPTY_ROOT,
                0,
                0,
                NO_HASH,
            ]
        )
        return encoded

    def sealed(self) -> Block:
        """The same block with its roots, its bloom and its hash filled in."""
        bloom = 0
        for receipt in self.receipts:
            bloom |= receipt.bloom
        kinds = [transaction.type for transaction in self.transactions]
        block = replace(
            self,
            bloom=bloom,
            transactions_root=_list_root([transaction.raw for transaction in self.transactions]),
            receipts_root=_list_root(
                [receipt.encode(kind) for receipt, kind in zip(self.receipts, kinds, strict=True)]
            ),
        )
        return replace(block, hash=keccak(block.encoded_header))


def next_base_fee(parent: Block) -> int:
    """The base fee of the block that follows `parent`, in wei per gas (EIP-1559)."""
    target = parent.gas_limit // ELASTICITY
    if parent.gas_used == target:
        return parent.base_fee
    change = parent.base_fee * abs(parent.gas_used - target) // target // BASE_FEE_CHANGE
    if parent.gas_used > target:
        return parent.base_fee + max(change, 1)
    return parent.base_fee - change


def logs_bloom(logs: tuple[Log, ...]) -> int:
    """The 2048-bit bloom filter of the addresses and topics of these logs."""
    bloom = 0
    for log in logs:
        bloom |= _bloom_bits(log.address)
        for topic in log.topics:
            bloom |= _bloom_bits(topic)
    return bloom


@lru_cache(maxsize=16_384)
def _bloom_bits(item: bytes) -> int:
    digest = keccak(item)
    bits = 0
    for start in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[start : start + 2], "big") & 2047)
    return bits


def _list_root(items: list[bytes]) -> bytes:
    """The root of the trie that maps the encoded index of each item to the item."""
    if not items:
        return EMPTY_ROOT
    if len(items) == 1:
        # A trie of one item is one leaf, whose path is the key 0x80 (the encoding of 0), of even length.
        return keccak(rlp.encode([b"\x20\x80", items[0]]))
    trie = HexaryTrie({})
    for index, item in enumerate(items):
        trie[rlp.encode(index)] = item
    return bytes(trie.root_hash)
