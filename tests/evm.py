"""A bare EVM in the process, for tests of contracts.

It runs whole transactions under cancun rules (intrinsic gas, calldata, refunds, cold and warm
slots, transient storage cleared at the end), so `gas_used` is what a receipt would say, without
blocks, fees or signatures around them. State and rules are py-evm's; its instructions are the local
chain's quick ones, which tests/embedded compare with py-evm's own and with anvil.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eth.abc import ComputationAPI, StateAPI
from eth.chains.base import MiningChain
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.db.atomic import AtomicDB
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.cancun.state import CancunState
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address
from eth_utils import keccak, to_canonical_address, to_checksum_address

from serving_network.chain.embedded.interpreter import Computation

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
    """What one transaction did. `gas_used` counts everything that a receipt counts."""

    success: bool
    output: bytes
    logs: tuple[Log, ...]
    gas_used: int
    gas_before_refunds: int
    created: str | None


class QuickState(CancunState):
    """py-evm's state, whose code runs on the local chain's interpreter."""

    computation_class = Computation


class QuickVM(CancunVM):
    """The virtual machine with that state."""

    _state_class = QuickState


class Evm:
    """State, a clock, and transactions from any sender."""

    def __init__(self, chain_id: int = CHAIN_ID) -> None:
        chain_class = MiningChain.configure(vm_configuration=((0, QuickVM),), chain_id=chain_id)
        self._database = AtomicDB()
        chain = chain_class.from_genesis(
            self._database,
            {"gas_limit": 2 * GAS_LIMIT, "timestamp": START_TIME, "difficulty": 0},
        )
        vm = chain.get_vm()
        self._vm = vm
        self._state: StateAPI = vm.state
        context: Any = self._state.execution_context
        context._base_fee_per_gas = 0
        self._context = context
        self._accounts = 0
        self.time = START_TIME + 1

    @property
    def time(self) -> int:
        """Unix seconds that the next transaction sees as block.timestamp."""
        timestamp: int = self._context._timestamp
        return timestamp

    @time.setter
    def time(self, timestamp: int) -> None:
        self._context._timestamp = timestamp

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
        return self._run(sender, CREATE_CONTRACT_ADDRESS, creation_code, value, GAS_LIMIT)

    def send(self, to: str, data: bytes = b"", *, sender: str, value: int = 0, gas: int = GAS_LIMIT) -> Outcome:
        return self._run(sender, _raw(to), data, value, gas)

    def view(self, to: str, data: bytes, *, sender: str, gas: int = GAS_LIMIT) -> Outcome:
        """Like `send`, but nothing it does is kept."""
        self._state.lock_changes()
        mark = self._state.snapshot()
        outcome = self._execute(sender, _raw(to), data, 0, gas)
        self._state.revert(mark)
        return outcome

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Everything done inside is undone at the end."""
        mark = self.snapshot()
        try:
            yield
        finally:
            self.revert(mark)

    def snapshot(self) -> tuple[bytes, int, int]:
        """A mark that `revert` can go back to any number of times."""
        self._state.persist()
        return self._state.state_root, self.time, self._accounts

    def revert(self, mark: tuple[bytes, int, int]) -> None:
        root, self.time, self._accounts = mark
        self._state = type(self._state)(self._database, self._context, root)

    def _run(self, sender: str, to: Address, data: bytes, value: int, gas: int) -> Outcome:
        self._state.lock_changes()
        return self._execute(sender, to, data, value, gas)

    def _execute(self, sender: str, to: Address, data: bytes, value: int, gas: int) -> Outcome:
        origin = _raw(sender)
        unsigned = self._vm.create_unsigned_transaction(
            nonce=self._state.get_nonce(origin),
            gas_price=0,
            gas=gas,
            to=to,
            value=value,
            data=data,
        )
        transaction: Any = SpoofTransaction(unsigned, from_=origin)
        if transaction.intrinsic_gas > gas:
            raise ValueError(f"gas {gas} is below the intrinsic gas {transaction.intrinsic_gas}")
        done: ComputationAPI = self._state.apply_transaction(transaction)
        spent = gas - done.get_gas_remaining()
        refund = min(done.get_gas_refund(), spent // 5) if done.is_success else 0
        logs = tuple(
            Log(
                to_checksum_address(address),
                tuple(topic.to_bytes(32, "big") for topic in topics),
                payload,
            )
            for address, topics, payload in done.get_log_entries()
        )
        created = (
            to_checksum_address(done.msg.storage_address) if to == CREATE_CONTRACT_ADDRESS and done.is_success else None
        )
        return Outcome(done.is_success, done.output, logs, spent - refund, spent, created)


def _raw(address: str) -> Address:
    return to_canonical_address(address)
