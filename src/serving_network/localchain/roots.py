# SPDX-License-Identifier: Apache-2.0
"""State roots: hashes that bind the blocks' changes, or the roots of a Merkle trie that proofs are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import rlp
from eth_utils import keccak
from trie.hexary import HexaryTrie

from .blocks import EMPTY_ROOT, NO_HASH
from .world import NOBODY, AccountState, Changes

PATH_BYTES = 32


class StateRoots(Protocol):
    """The roots of the states after each commit, the last of which is the current one."""

    def next(self, changes: Changes) -> bytes:
        """The root of the current state with these changes. Nothing is kept."""

    def keep(self, changes: Changes, root: bytes | None, /) -> None:
        """Make these changes part of the current state; `root` is its root, or None for changes between two blocks."""

    def undo(self, version: int) -> None:
        """Return to the state after the first `version` commits."""

    def copy(self) -> StateRoots:
        """An independent copy."""


class BoundRoots:
    """Each root is the keccak of the previous one and of every value that its block set.

    It costs little and commits to the state, but nothing can be proven against it.
    """

    def __init__(self) -> None:
        self._roots = [NO_HASH]

    def next(self, changes: Changes) -> bytes:
        parts = [self._roots[-1]]
        for address, account in sorted(changes.accounts.items()):
            parts += (address, account.nonce.to_bytes(8, "big"), account.balance.to_bytes(32, "big"), account.code_hash)
        for (address, slot), value in sorted(changes.slots.items()):
            parts += (address, slot.to_bytes(32, "big"), value.to_bytes(32, "big"))
        return keccak(b"".join(parts))

    def keep(self, _: Changes, root: bytes | None, /) -> None:
        self._roots.append(self._roots[-1] if root is None else root)

    def undo(self, version: int) -> None:
        del self._roots[version + 1 :]

    def copy(self) -> BoundRoots:
        twin = BoundRoots()
        twin._roots = list(self._roots)
        return twin


class AccountProof(NamedTuple):
    """An account with the nodes of the trie from the root to it, and the same for some of its slots."""

    account: AccountState
    storage_root: bytes
    nodes: tuple[bytes, ...]
    slots: tuple[tuple[int, int, tuple[bytes, ...]], ...]
    """For each slot its number, its value and the nodes."""


class StateTrie:
    """The roots of Ethereum's state trie (yellow paper, 4.1): a trie of accounts, each with a trie of its storage.

    Nodes are stored by their hash, so every root that was ever made can still be read.
    """

    def __init__(self) -> None:
        self._nodes: dict[bytes, bytes] = {}
        self._roots = [EMPTY_ROOT]

    def next(self, changes: Changes) -> bytes:
        slots: dict[bytes, dict[int, int]] = {}
        for (address, slot), value in changes.slots.items():
            slots.setdefault(address, {})[slot] = value
        accounts = self._trie(self._roots[-1])
        for address in slots.keys() | changes.accounts.keys():
            before, storage_root = _account(accounts[keccak(address)])
            storage = self._trie(storage_root)
            for slot, value in slots.get(address, {}).items():
                storage[keccak(slot.to_bytes(32, "big"))] = rlp.encode(value) if value else b""
            after = changes.accounts.get(address, before)
            is_empty = after == NOBODY and storage.root_hash == EMPTY_ROOT
            leaf = rlp.encode([after.nonce, after.balance, storage.root_hash, after.code_hash])
            accounts[keccak(address)] = b"" if is_empty else leaf
        return bytes(accounts.root_hash)

    def keep(self, changes: Changes, root: bytes | None, /) -> None:
        self._roots.append(root if root is not None and self.knows(root) else self.next(changes))

    def undo(self, version: int) -> None:
        del self._roots[version + 1 :]

    def copy(self) -> StateTrie:
        twin = StateTrie()
        twin._nodes = dict(self._nodes)
        twin._roots = list(self._roots)
        return twin

    def knows(self, root: bytes) -> bool:
        """Whether this is the root of a state of this trie."""
        return root == EMPTY_ROOT or root in self._nodes

    def prove(self, root: bytes, address: bytes, slots: Sequence[int]) -> AccountProof:
        """An account in the state with this root, with its proof, and that of each of these slots."""
        accounts = self._trie(root)
        path = keccak(address)
        account, storage_root = _account(accounts[path])
        storage = self._trie(storage_root)
        proven = []
        for slot in slots:
            place = keccak(slot.to_bytes(32, "big"))
            stored = storage[place]
            proven.append((slot, int.from_bytes(rlp.decode(stored), "big") if stored else 0, _nodes(storage, place)))
        return AccountProof(account, storage_root, _nodes(accounts, path), tuple(proven))

    def _trie(self, root: bytes) -> Any:
        return HexaryTrie(self._nodes, root)


def _account(leaf: bytes) -> tuple[AccountState, bytes]:
    """The account of an encoded leaf, and the root of its storage."""
    if not leaf:
        return NOBODY, EMPTY_ROOT
    nonce, balance, storage_root, code_hash = rlp.decode(leaf)
    return AccountState(int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), code_hash), storage_root


def _nodes(trie: Any, path: bytes) -> tuple[bytes, ...]:
    """The encoded nodes from the root to this path, without those that are part of their parent."""
    if trie.root_hash == EMPTY_ROOT:
        return ()
    encoded = [rlp.encode(node) for node in trie.get_proof(path)]
    return tuple(node for number, node in enumerate(encoded) if number == 0 or len(node) >= PATH_BYTES)
