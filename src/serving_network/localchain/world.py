# SPDX-License-Identifier: Apache-2.0
"""The state of the chain in flat tables, with its history.

There is no Merkle trie: an account is one row, a storage slot is one number, and each commit records the values that
it replaced. Reading the state of an old block is then a binary search, and undoing a block restores the recorded
values.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from serving_network.hashing import keccak

EMPTY_CODE_HASH = keccak(b"")

Slot = tuple[bytes, int]
"""The address of a contract (20 bytes) and the number of one of its storage slots."""


class AccountState(NamedTuple):
    """The state of an address. `balance` is in wei; `code_hash` is the keccak hash of the code."""

    nonce: int
    balance: int
    code_hash: bytes


NOBODY = AccountState(0, 0, EMPTY_CODE_HASH)
"""An unused address. An empty account is the same as no account (EIP-161)."""


class StateReader(Protocol):
    """Read access to the state at one point in time."""

    def account(self, address: bytes) -> AccountState: ...

    def slot(self, key: Slot) -> int: ...

    def code(self, code_hash: bytes) -> bytes: ...


@dataclass
class Changes:
    """New values that a block or a developer method sets."""

    accounts: dict[bytes, AccountState] = field(default_factory=dict)
    slots: dict[Slot, int] = field(default_factory=dict)
    codes: dict[bytes, bytes] = field(default_factory=dict)


class World:
    """The latest state. `version` is the number of commits; `at` reads an earlier version.

    `origin` is the state of another chain, which is read for everything that no commit has changed.
    """

    def __init__(self, origin: StateReader | None = None) -> None:
        self._origin = origin
        self._accounts: dict[bytes, AccountState] = {}
        self._slots: dict[Slot, int] = {}
        self._codes: dict[bytes, bytes] = {EMPTY_CODE_HASH: b""}
        self._past_accounts: dict[bytes, list[tuple[int, AccountState]]] = {}
        self._past_slots: dict[Slot, list[tuple[int, int]]] = {}
        self._touched: list[tuple[tuple[bytes, ...], tuple[Slot, ...]]] = []

    @property
    def version(self) -> int:
        return len(self._touched)

    def account(self, address: bytes) -> AccountState:
        account = self._accounts.get(address)
        if account is not None:
            return account
        return NOBODY if self._origin is None else self._origin.account(address)

    def slot(self, key: Slot) -> int:
        value = self._slots.get(key)
        if value is not None:
            return value
        return 0 if self._origin is None else self._origin.slot(key)

    def code(self, code_hash: bytes) -> bytes:
        code = self._codes.get(code_hash)
        if code is not None:
            return code
        if self._origin is None:
            raise KeyError(f"no code with hash 0x{code_hash.hex()}")
        return self._origin.code(code_hash)

    def at(self, version: int) -> StateReader:
        """The state after the first `version` commits."""
        return self if version == self.version else PastWorld(self, version)

    def commit(self, changes: Changes) -> Changes:
        """Apply the new values. Returns those that differ from the previous state."""
        accounts = {a: new for a, new in changes.accounts.items() if new != self.account(a)}
        slots = {k: new for k, new in changes.slots.items() if new != self.slot(k)}
        self._touched.append((tuple(accounts), tuple(slots)))
        version = self.version
        for address, account in accounts.items():
            self._past_accounts.setdefault(address, []).append((version, self.account(address)))
            self._accounts[address] = account
        for key, value in slots.items():
            self._past_slots.setdefault(key, []).append((version, self.slot(key)))
            self._slots[key] = value
        codes = {code_hash: code for code_hash, code in changes.codes.items() if code_hash not in self._codes}
        self._codes.update(codes)
        return Changes(accounts, slots, codes)

    def undo(self, version: int) -> None:
        """Return to an earlier version, and delete the later ones."""
        while self.version > version:
            addresses, keys = self._touched.pop()
            for address in addresses:
                self._accounts[address] = self._past_accounts[address].pop()[1]
            for key in keys:
                self._slots[key] = self._past_slots[key].pop()[1]

    def copy(self) -> World:
        """An independent copy with the same state and history."""
        twin = World(self._origin)
        twin._accounts = dict(self._accounts)
        twin._slots = dict(self._slots)
        twin._codes = dict(self._codes)
        twin._past_accounts = {address: list(past) for address, past in self._past_accounts.items()}
        twin._past_slots = {key: list(past) for key, past in self._past_slots.items()}
        twin._touched = list(self._touched)
        return twin

    def account_before(self, address: bytes, version: int) -> AccountState:
        """The account as it was after the first `version` commits."""
        past = self._past_accounts.get(address, ())
        first_later = bisect_left(past, (version + 1,))
        return past[first_later][1] if first_later < len(past) else self.account(address)

    def slot_before(self, key: Slot, version: int) -> int:
        """The slot as it was after the first `version` commits."""
        past = self._past_slots.get(key, ())
        first_later = bisect_left(past, (version + 1,))
        return past[first_later][1] if first_later < len(past) else self.slot(key)


@dataclass(frozen=True)
class PastWorld:
    """A `World` as it was after its first `version` commits."""

    world: World
    version: int

    def account(self, address: bytes) -> AccountState:
        return self.world.account_before(address, self.version)

    def slot(self, key: Slot) -> int:
        return self.world.slot_before(key, self.version)

    def code(self, code_hash: bytes) -> bytes:
        return self.world.code(code_hash)
