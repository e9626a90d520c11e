# SPDX-License-Identifier: Apache-2.0
"""A bare EVM in the process, for tests of contracts.

It runs whole transactions under cancun rules (intrinsic gas, calldata, refunds, cold and warm
slots, transient storage cleared at the end), so `gas_used` is what a receipt would say, without
blocks, fees or signatures around them. State, rules and instructions are the local chain's, which
tests/localchain compare with py-evm's own and with anvil.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from eth.vm.forks.cancun.computation import CancunComputation
from eth_typing import Address

from serving_network.addresses import to_canonical_address, to_checksum_address
from serving_network.hashing import keccak
from serving_network.localchain.evm import BlockContext, EvmState, ExternalMessage, execute, intrinsic_gas
from serving_network.localchain.interpreter import Computation
from serving_network.localchain.world import Changes, World

CHAIN_ID = 31337
START_TIME = 1_767_225_600
GAS_LIMIT = 30_000_000


@dataclass(frozen=True)
class Log:
    """One event as the EVM recorded it: `address` is checksummed, `topics` are 32 bytes each."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Outcome:
    """What one transaction did. `gas_used` counts everything that a receipt counts. `gas_needed` is the least limit
    with which it does the same, 0 where the EVM does not tell."""

    success: bool
    output: bytes
    logs: tuple[Log, ...]
    gas_used: int
    gas_before_refunds: int
    created: str | None
    gas_needed: int = 0


@dataclass(frozen=True)
class Mark:
    """A moment to go back to: a copy of everything that transactions change."""

    changes: Changes
    time: int
    accounts: int


class Evm:
    """State, a clock, and transactions from any sender."""

    def __init__(self, chain_id: int = CHAIN_ID) -> None:
        self._chain_id = chain_id
        self._changes = Changes()
        self._computation: type[CancunComputation] = Computation
        self._accounts = 0
        self.time = START_TIME + 1

    @property
    def time(self) -> int:
        """Unix seconds that the next transaction sees as block.timestamp."""
        return self._context.timestamp

    @time.setter
    def time(self, timestamp: int) -> None:
        self._context = BlockContext(
            chain_id=self._chain_id,
            number=1,
            timestamp=timestamp,
            gas_limit=2 * GAS_LIMIT,
            base_fee=0,
            coinbase=bytes(20),
            randomness=bytes(32),
            block_hash=lambda number: keccak(f"block {number}".encode()),
        )
        self._begin(self._changes)

    def account(self, name: str = "", *, coins: int = 10**27) -> str:
        """A fresh address that holds `coins` wei; the same names in the same order give the same addresses."""
        self._accounts += 1
        address = to_checksum_address(keccak(f"{name}:{self._accounts}".encode())[12:])
        self.set_balance(address, coins)
        return address

    def balance(self, address: str) -> int:
        return self._state.get_balance(_raw(address))

    def set_balance(self, address: str, wei: int) -> None:
        self._state.set_balance(_raw(address), wei)

    def code(self, address: str) -> bytes:
        return self._state.get_code(_raw(address))

    def set_code(self, address: str, code: bytes) -> None:
        self._state.set_code(_raw(address), code)

    def storage(self, address: str, slot: int) -> int:
        return self._state.get_storage(_raw(address), slot)

    def deploy(self, creation_code: bytes, *, sender: str, value: int = 0) -> Outcome:
        return self._run(sender, None, creation_code, value, GAS_LIMIT)

    def send(self, to: str, data: bytes = b"", *, sender: str, value: int = 0, gas: int = GAS_LIMIT) -> Outcome:
        return self._run(sender, _raw(to), data, value, gas)

    def view(self, to: str, data: bytes, *, sender: str, gas: int = GAS_LIMIT) -> Outcome:
        """Like `send`, but nothing it does is kept."""
        return self._execute(EvmState(self._state, self._context), sender, _raw(to), data, 0, gas)

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Everything done inside is undone at the end."""
        mark = self.snapshot()
        try:
            yield
        finally:
            self.revert(mark)

    def snapshot(self) -> Mark:
        """A mark that `revert` can go back to any number of times."""
        return Mark(_copy(self._changes), self.time, self._accounts)

    def revert(self, mark: Mark) -> None:
        self._changes = _copy(mark.changes)
        self._accounts = mark.accounts
        self.time = mark.time

    def _begin(self, changes: Changes) -> None:
        """Have transactions change `changes` from now on."""
        self._state = EvmState(World(), self._context)
        self._state.changes = changes

    def _run(self, sender: str, to: Address | None, data: bytes, value: int, gas: int) -> Outcome:
        return self._execute(self._state, sender, to, data, value, gas)

    def _execute(self, state: EvmState, sender: str, to: Address | None, data: bytes, value: int, gas: int) -> Outcome:
        call = ExternalMessage(_raw(sender), to, value, data, gas)
        least = intrinsic_gas(to, data, ())
        if least > gas:
            raise ValueError(f"gas {gas} is below the intrinsic gas {least}")
        if value > state.get_balance(_raw(sender)):
            raise ValueError(f"{sender} does not have {value} wei")
        done = execute(state, call, self._computation)
        logs = tuple(Log(to_checksum_address(one.address), one.topics, one.data) for one in done.logs)
        created = None if done.created is None else to_checksum_address(done.created)
        before_refunds = done.gas_used + done.gas_refunded
        return Outcome(done.success, done.output, logs, done.gas_used, before_refunds, created, done.gas_needed)


def _copy(changes: Changes) -> Changes:
    return Changes(dict(changes.accounts), dict(changes.slots), dict(changes.codes))


def _raw(address: str) -> Address:
    return to_canonical_address(address)
