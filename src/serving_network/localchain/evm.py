# SPDX-License-Identifier: Apache-2.0
"""Run one message under cancun rules on a state, with the exact gas of a transaction.

The interpreter is py-evm's; the state is this project's: an overlay of new values over a `StateReader`, with a journal
that reverts them if a call fails. The underlying state changes only when the overlay's `changes` are committed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rlp
from eth.abc import ComputationAPI, MessageAPI, TransactionContextAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.exceptions import ContractCreationCollision, Revert, VMError
from eth.typing import JournalDBCheckpoint
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.computation import CANCUN_PRECOMPILES, CancunComputation
from eth.vm.forks.cancun.state import CancunState
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.message import Message
from eth_typing import Address, BlockNumber, Hash32

from serving_network.hashing import keccak

from .interpreter import Computation
from .transactions import AccessList
from .world import EMPTY_CODE_HASH, NOBODY, AccountState, Changes, Slot, StateReader

GAS_TRANSACTION = 21_000
GAS_CREATION = 32_000
GAS_ZERO_BYTE = 4
GAS_NONZERO_BYTE = 16
GAS_LISTED_ADDRESS = 2_400
GAS_LISTED_SLOT = 1_900
GAS_INITCODE_WORD = 2
MAX_INITCODE_SIZE = 49_152
REFUND_QUOTIENT = 5

_NO_ROOT = Hash32(b"")
_ABSENT = object()


@dataclass(frozen=True)
class BlockContext:
    """The block that contracts run in. `timestamp` is in unix seconds, `base_fee` in wei per gas."""

    chain_id: int
    number: int
    timestamp: int
    gas_limit: int
    base_fee: int
    coinbase: bytes
    randomness: bytes
    block_hash: Callable[[int], bytes]
    """The hash of an earlier block by its number."""


@dataclass(frozen=True)
class ExternalMessage:
    """One external message. `to` is None to create a contract; `gas` includes the intrinsic gas.

    `gas_price` is what the sender pays per gas, and `tip` is the part of it that the block proposer receives.
    """

    sender: bytes
    to: bytes | None
    value: int
    data: bytes
    gas: int
    gas_price: int = 0
    tip: int = 0
    access_list: AccessList = ()


@dataclass(frozen=True)
class Log:
    """One log entry. Each topic has 32 bytes."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class MessageResult:
    """The result of a message. `gas_used` is that of the receipt, from which `gas_refunded` is already deducted.

    `gas_needed` is the lowest gas limit with which the message does the same, if no contract looks at the gas left.
    `output` is the return data, or the revert data if `error` is a revert. `read_time` is True if a contract read the
    timestamp of the block, so that the result may differ a second later.
    """

    error: VMError | None
    output: bytes
    gas_used: int
    gas_refunded: int
    logs: tuple[Log, ...]
    created: bytes | None
    read_time: bool = False
    gas_needed: int = 0

    @property
    def success(self) -> bool:
        return self.error is None

    @property
    def reverted(self) -> bool:
        """Whether the contract reverted, rather than ran out of gas or executed an invalid instruction."""
        return isinstance(self.error, Revert)


def intrinsic_gas(to: bytes | None, data: bytes, access_list: AccessList) -> int:
    """The gas that a transaction costs before its first instruction."""
    zeros = data.count(0)
    gas = GAS_TRANSACTION + GAS_ZERO_BYTE * zeros + GAS_NONZERO_BYTE * (len(data) - zeros)
    gas += sum(GAS_LISTED_ADDRESS + GAS_LISTED_SLOT * len(slots) for _, slots in access_list)
    if to is None:
        gas += GAS_CREATION + GAS_INITCODE_WORD * (-(-len(data) // 32))
    return gas


def created_address(sender: bytes, nonce: int) -> bytes:
    """The address of the contract that `sender` creates in its transaction number `nonce`."""
    return keccak(rlp.encode([sender, nonce]))[12:]


class EvmState(CancunState):
    """An overlay of new values over a reader, and the data that lasts for one transaction."""

    def __init__(self, base: StateReader, context: BlockContext) -> None:
        self._base = base
        self._context = context
        self.execution_context = ExecutionContext(
            coinbase=Address(context.coinbase),
            timestamp=context.timestamp,
            block_number=BlockNumber(context.number),
            difficulty=0,
            mix_hash=Hash32(context.randomness),
            gas_limit=context.gas_limit,
            prev_hashes=(),
            chain_id=context.chain_id,
            base_fee_per_gas=context.base_fee,
            excess_blob_gas=0,
        )
        self.changes = Changes()
        self.observer: Any = None
        self.read_time = False
        self._journal: list[tuple[dict[Any, Any], Any, Any]] = []
        self._originals: dict[Slot, int] = {}
        self._warm: dict[bytes | Slot, bool] = {}
        self._transient: dict[Slot, bytes] = {}

    def start_transaction(self) -> None:
        """Clear the warm addresses and slots and the transient storage of the last transaction."""
        self._journal = []
        self._originals = {}
        self._transient = {}
        self._warm = dict.fromkeys(CANCUN_PRECOMPILES, True)
        self._warm[self._context.coinbase] = True

    def _write(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._journal.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    # Journal

    def snapshot(self) -> tuple[Hash32, JournalDBCheckpoint]:
        return _NO_ROOT, JournalDBCheckpoint(len(self._journal))

    def revert(self, snapshot: tuple[Hash32, JournalDBCheckpoint]) -> None:
        journal = self._journal
        while len(journal) > snapshot[1]:
            table, key, value = journal.pop()
            if value is _ABSENT:
                del table[key]
            else:
                table[key] = value

    def commit(self, snapshot: tuple[Hash32, JournalDBCheckpoint]) -> None:
        """Keep the changes since the snapshot. An earlier snapshot can still revert them."""

    # Storage

    def get_storage(self, address: Address, slot: int, from_journal: bool = True) -> int:
        key = (address, slot)
        if not from_journal and key in self._originals:
            return self._originals[key]
        value = self.changes.slots.get(key)
        return self._base.slot(key) if value is None else value

    def set_storage(self, address: Address, slot: int, value: int) -> None:
        key = (address, slot)
        if key not in self._originals:
            self._originals[key] = self.get_storage(address, slot)
        self._write(self.changes.slots, key, value)

    def delete_storage(self, address: Address) -> None:
        for key in [key for key, value in self.changes.slots.items() if value and key[0] == address]:
            self._write(self.changes.slots, key, 0)

    def get_transient_storage(self, address: Address, slot: int) -> bytes:
        return self._transient.get((address, slot), b"")

    def set_transient_storage(self, address: Address, slot: int, value: bytes) -> None:
        self._write(self._transient, (address, slot), value)

    # The `StateReader` interface, for a state on top of this one

    def slot(self, key: Slot) -> int:
        value = self.changes.slots.get(key)
        return self._base.slot(key) if value is None else value

    def code(self, code_hash: bytes) -> bytes:
        code = self.changes.codes.get(code_hash)
        return self._base.code(code_hash) if code is None else code

    # Accounts

    def account(self, address: bytes) -> AccountState:
        account = self.changes.accounts.get(address)
        return self._base.account(address) if account is None else account

    def set_account(self, address: bytes, account: AccountState) -> None:
        self._write(self.changes.accounts, address, account)

    def get_balance(self, address: Address) -> int:
        return self.account(address).balance

    def set_balance(self, address: Address, balance: int) -> None:
        self.set_account(address, self.account(address)._replace(balance=balance))

    def delta_balance(self, address: Address, delta: int) -> None:
        if delta:
            account = self.account(address)
            self.set_account(address, AccountState(account.nonce, account.balance + delta, account.code_hash))

    def get_nonce(self, address: Address) -> int:
        return self.account(address).nonce

    def set_nonce(self, address: Address, nonce: int) -> None:
        self.set_account(address, self.account(address)._replace(nonce=nonce))

    def increment_nonce(self, address: Address) -> None:
        self.set_nonce(address, self.get_nonce(address) + 1)

    def get_code(self, address: Address) -> bytes:
        code_hash = self.account(address).code_hash
        return b"" if code_hash == EMPTY_CODE_HASH else self.code(code_hash)

    def set_code(self, address: Address, code: bytes) -> None:
        code_hash = keccak(code)
        self.changes.codes[code_hash] = code
        self.set_account(address, self.account(address)._replace(code_hash=code_hash))

    def get_code_hash(self, address: Address) -> Hash32:
        return Hash32(self.account(address).code_hash)

    def delete_account(self, address: Address) -> None:
        self.delete_storage(address)
        self.set_account(address, NOBODY)

    def has_code_or_nonce(self, address: Address) -> bool:
        account = self.account(address)
        return account.nonce != 0 or account.code_hash != EMPTY_CODE_HASH

    def account_exists(self, address: Address) -> bool:
        return self.account(address) != NOBODY

    def account_is_empty(self, address: Address) -> bool:
        return self.account(address) == NOBODY

    def touch_account(self, address: Address) -> None:
        """Does nothing: an empty account is the same as no account, so there is none to delete."""

    # Warm addresses and slots (EIP-2929)

    def is_address_warm(self, address: Address) -> bool:
        return address in self._warm

    def mark_address_warm(self, address: Address) -> None:
        if address not in self._warm:
            self._write(self._warm, address, True)

    def is_storage_warm(self, address: Address, slot: int) -> bool:
        return (address, slot) in self._warm

    def mark_storage_warm(self, address: Address, slot: int) -> None:
        if (address, slot) not in self._warm:
            self._write(self._warm, (address, slot), True)

    # Block

    @property
    def timestamp(self) -> int:
        self.read_time = True
        return self._context.timestamp

    def get_ancestor_hash(self, block_number: int) -> Hash32:
        if not self._context.number - 256 <= block_number < self._context.number:
            return Hash32(b"")
        return Hash32(self._context.block_hash(block_number))


def execute(
    state: EvmState, call: ExternalMessage, computation_class: type[CancunComputation] = Computation
) -> MessageResult:
    """Run a message as a transaction: buy gas, increment the nonce, pay refunds and the tip.

    The caller must ensure that the sender can pay and that `gas` covers the intrinsic gas.
    """
    state.start_transaction()
    sender = Address(call.sender)
    nonce = state.get_nonce(sender)
    state.delta_balance(sender, -call.gas * call.gas_price)
    state.set_nonce(sender, nonce + 1)
    message = _message(state, call, nonce)
    state.mark_address_warm(sender)
    state.mark_address_warm(message.storage_address)
    for address, slots in call.access_list:
        state.mark_address_warm(Address(address))
        for slot in slots:
            state.mark_storage_warm(Address(address), slot)
    context = CancunTransactionContext(gas_price=call.gas_price, origin=sender)
    computation = _run(state, message, context, computation_class)
    return _settle(state, call, computation)


def _message(state: EvmState, call: ExternalMessage, nonce: int) -> Message:
    # py-evm charges the initcode words when the creation starts, so they are not deducted twice.
    gas = call.gas - intrinsic_gas(call.to, call.data, call.access_list)
    if call.to is not None:
        to = Address(call.to)
        return Message(
            gas=gas, to=to, sender=Address(call.sender), value=call.value, data=call.data, code=state.get_code(to)
        )
    return Message(
        gas=gas + GAS_INITCODE_WORD * (-(-len(call.data) // 32)),
        to=CREATE_CONTRACT_ADDRESS,
        sender=Address(call.sender),
        value=call.value,
        data=b"",
        code=call.data,
        create_address=Address(created_address(call.sender, nonce)),
    )


def _run(
    state: EvmState,
    message: MessageAPI,
    context: TransactionContextAPI,
    computation_class: type[CancunComputation],
) -> ComputationAPI:
    if not message.is_create:
        return computation_class.apply_message(state, message, context)
    if state.has_code_or_nonce(message.storage_address):
        computation = computation_class(state, message, context)
        computation.error = ContractCreationCollision("contract address collision")
        return computation
    return computation_class.apply_create_message(state, message, context)


def _settle(state: EvmState, call: ExternalMessage, computation: ComputationAPI) -> MessageResult:
    remaining = computation.get_gas_remaining()
    refunded = min(computation.get_gas_refund(), (call.gas - remaining) // REFUND_QUOTIENT)
    used = call.gas - remaining - refunded
    state.delta_balance(Address(call.sender), (call.gas - used) * call.gas_price)
    state.delta_balance(Address(state.coinbase), used * call.tip)
    for address in computation.get_accounts_for_deletion():
        state.delete_account(address)
    return MessageResult(
        error=computation.error if computation.is_error else None,
        output=computation.output,
        gas_used=used,
        gas_refunded=refunded,
        logs=tuple(
            Log(address, tuple(topic.to_bytes(32, "big") for topic in topics), data)
            for address, topics, data in computation.get_log_entries()
        ),
        created=computation.msg.storage_address if computation.msg.is_create and computation.is_success else None,
        read_time=state.read_time,
        gas_needed=call.gas - computation.msg.gas + getattr(computation, "needed", computation.msg.gas),
    )
