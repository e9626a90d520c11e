# SPDX-License-Identifier: Apache-2.0
"""The chain: blocks, state, transaction pool, clock and snapshots."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from eth.vm.forks.cancun.constants import BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CONTRACT_CODE, HISTORY_BUFFER_LENGTH
from eth_utils import keccak

from serving_network.errors import RpcError

from .blocks import EMPTY_ROOT, NO_HASH, Block, BlockReceipt, logs_bloom, next_base_fee
from .evm import MAX_INITCODE_SIZE, BlockContext, EvmState, ExternalMessage, Log, execute, intrinsic_gas
from .pool import Pool
from .roots import StateRoots
from .store import Entry, Store
from .transactions import INVALID_INPUT, DecodedTransaction
from .world import AccountState, Changes, StateReader, World

MAX_UINT64 = 2**64 - 1


@dataclass(frozen=True)
class Settings:
    """The initial settings of a chain. Amounts are in wei, `genesis_time` in unix seconds (None: now).

    `balances` are those of the accounts in block 0.
    """

    chain_id: int = 31337
    gas_limit: int = 30_000_000
    base_fee: int = 10**9
    coinbase: bytes = bytes(20)
    genesis_time: int | None = None
    balances: dict[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Location:
    """The position of a mined transaction."""

    block: Block
    index: int

    @property
    def transaction(self) -> DecodedTransaction:
        return self.block.transactions[self.index]

    @property
    def receipt(self) -> BlockReceipt:
        return self.block.receipts[self.index]


@dataclass(frozen=True)
class MinedLog:
    """A log with its position. `removed` is True if its block was undone."""

    log: Log
    location: Location
    index: int
    removed: bool = False


@dataclass(frozen=True)
class _Snapshot:
    version: int
    entries: int
    pool: Pool
    offset: int
    next_timestamp: int | None


Listener = Callable[[Block, bool], None]
"""Called with every new block, and with every undone block (then the second argument is True)."""


class Chain:
    """A private chain. It is synchronous and not thread-safe."""

    def __init__(self, settings: Settings, world: World, roots: StateRoots, store: Store | None = None) -> None:
        self.chain_id = settings.chain_id
        self.gas_limit = settings.gas_limit
        self.coinbase = settings.coinbase
        self.automine = True
        self.pool = Pool()
        self.world = world
        self.roots = roots
        self.blocks: list[Block] = []
        self.impersonated: set[bytes] = set()
        self.impersonates_all = False
        self.listeners: list[Listener] = []
        self.arrivals: list[Callable[[DecodedTransaction], None]] = []
        self._store = store
        self._offset = 0
        self._next_timestamp: int | None = None
        self._next_base_fee: int | None = None
        self._next_randomness: bytes | None = None
        self._by_hash: dict[bytes, int] = {}
        self._transactions: dict[bytes, tuple[int, int]] = {}
        self._snapshots: dict[int, _Snapshot] = {}
        self._snapshots_taken = 0
        if store is not None and store.count:
            self._restore(store)
        else:
            self._make_genesis(settings)

    # Reading

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def block_by_hash(self, block_hash: bytes) -> Block | None:
        number = self._by_hash.get(block_hash)
        return None if number is None else self.blocks[number]

    def locate(self, transaction_hash: bytes) -> Location | None:
        """The position of the transaction, or None if it is not mined."""
        place = self._transactions.get(transaction_hash)
        return None if place is None else Location(self.blocks[place[0]], place[1])

    def state_at(self, block: Block) -> StateReader:
        """The state after `block`, on which the next block is or was built."""
        if block.number == self.head.number:
            return self.world
        return self.world.at(self.blocks[block.number + 1].version - 1)

    def logs(self, first: int, last: int) -> Iterator[MinedLog]:
        """All logs of the blocks `first` through `last`, in order."""
        for block in self.blocks[max(first, 0) : last + 1]:
            yield from block_logs(block)

    def context_of(self, block: Block) -> BlockContext:
        """The context of a past block, for a call that runs as if it were in that block."""
        return BlockContext(
            chain_id=self.chain_id,
            number=block.number,
            timestamp=block.timestamp,
            gas_limit=block.gas_limit,
            base_fee=block.base_fee,
            coinbase=block.coinbase,
            randomness=block.randomness,
            block_hash=self._block_hash,
        )

    def next_context(self) -> BlockContext:
        """The context of the next block, if it were mined now."""
        parent = self.head
        return BlockContext(
            chain_id=self.chain_id,
            number=parent.number + 1,
            timestamp=self._timestamp_of_next(),
            gas_limit=self.gas_limit,
            base_fee=self.next_base_fee,
            coinbase=self.coinbase,
            randomness=keccak(parent.hash) if self._next_randomness is None else self._next_randomness,
            block_hash=self._block_hash,
        )

    @property
    def next_base_fee(self) -> int:
        """The base fee of the next block, in wei per gas."""
        return next_base_fee(self.head) if self._next_base_fee is None else self._next_base_fee

    def set_next_base_fee(self, fee: int) -> None:
        """Set the base fee of the next block. Later base fees follow from it."""
        self._next_base_fee = fee

    def impersonates(self, sender: bytes) -> bool:
        """Whether transactions of this sender need no signature."""
        return self.impersonates_all or sender in self.impersonated

    def set_next_randomness(self, randomness: bytes) -> None:
        """Set the randomness (PREVRANDAO) of the next block."""
        self._next_randomness = randomness

    def waiting(self) -> tuple[list[DecodedTransaction], list[DecodedTransaction]]:
        """The transactions in the pool: those that can be mined now, and the others."""
        pending = self._executable()
        held = {transaction.hash for transaction in pending}
        return pending, [transaction for transaction in self.pool.all() if transaction.hash not in held]

    def next_nonce(self, sender: bytes) -> int:
        """The nonce of the sender's next transaction, including those in the pool."""
        return self.pool.next_nonce(sender, self.world.account(sender).nonce)

    # Clock

    def increase_time(self, seconds: int) -> int:
        """Move the clock forward. Returns the total number of seconds it is ahead."""
        self._offset += seconds
        self._keep(Changes(), None)
        return self._offset

    def set_next_timestamp(self, timestamp: int) -> None:
        """Set the timestamp of the next block. The clock continues from there."""
        if timestamp < self.head.timestamp:
            raise RpcError(INVALID_INPUT, f"timestamp {timestamp} is before the latest block's, {self.head.timestamp}")
        self._next_timestamp = timestamp

    def _timestamp_of_next(self) -> int:
        if self._next_timestamp is not None:
            return self._next_timestamp
        return max(int(time.time()) + self._offset, self.head.timestamp)

    # Sending

    def send(self, transaction: DecodedTransaction) -> bytes:
        """Add a transaction to the pool and, unless mining is manual, mine it. Returns its hash."""
        self._check(transaction)
        self.pool.add(transaction)
        for arrived in self.arrivals:
            arrived(transaction)
        if self.automine:
            self.mine_waiting()
        return transaction.hash

    def mine_waiting(self) -> None:
        """Mine one block per transaction until no more can be mined."""
        while executable := self._executable():
            self._seal(executable[:1])

    def mine(self) -> Block:
        """Mine one block with all transactions from the pool that fit; it may be empty."""
        return self._seal(self._executable())

    def preview(self) -> tuple[Block, EvmState]:
        """The block that `mine` would create now, and the state after it. Nothing is stored."""
        return self._build(self._executable())

    def _executable(self) -> list[DecodedTransaction]:
        return self.pool.executable(self.world, self.next_base_fee, self.gas_limit)

    def _check(self, transaction: DecodedTransaction) -> None:
        account = self.world.account(transaction.sender)
        impersonated = self.impersonates(transaction.sender)
        needed = intrinsic_gas(transaction.to, transaction.data, transaction.access_list)
        problem = None
        if transaction.chain_id not in (None, self.chain_id):
            problem = f"invalid chain id for signer: have {transaction.chain_id} want {self.chain_id}"
        elif transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
            problem = (
                "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: "
                f"{transaction.max_priority_fee_per_gas}, maxFeePerGas: {transaction.max_fee_per_gas}"
            )
        elif transaction.to is None and len(transaction.data) > MAX_INITCODE_SIZE:
            problem = f"max initcode size exceeded: code size {len(transaction.data)}, limit {MAX_INITCODE_SIZE}"
        elif transaction.gas > self.gas_limit:
            problem = "exceeds block gas limit"
        elif transaction.gas < needed:
            problem = f"intrinsic gas too low: gas {transaction.gas}, minimum needed {needed}"
        elif transaction.nonce < account.nonce:
            problem = f"nonce too low: next nonce {account.nonce}, tx nonce {transaction.nonce}"
        elif transaction.nonce >= MAX_UINT64:
            problem = "nonce has max value"
        elif transaction.cost > account.balance:
            problem = (
                f"insufficient funds for gas * price + value: balance {account.balance}, "
                f"tx cost {transaction.cost}, overshot {transaction.cost - account.balance}"
            )
        elif not impersonated and self.world.code(account.code_hash):
            problem = "sender not an eoa"
        if problem:
            raise RpcError(INVALID_INPUT, problem)

    # Creating blocks

    def _build(self, candidates: list[DecodedTransaction]) -> tuple[Block, EvmState]:
        parent, context = self.head, self.next_context()
        state = EvmState(self.world, context)
        note_beacon_root(state, context.timestamp)
        used, log_index = 0, 0
        transactions: list[DecodedTransaction] = []
        receipts: list[BlockReceipt] = []
        for transaction in candidates:
            if used + transaction.gas > context.gas_limit:
                continue
            if state.account(transaction.sender).nonce != transaction.nonce:
                continue
            if state.account(transaction.sender).balance < transaction.cost:
                continue
            outcome = execute(state, call_of(transaction, context.base_fee))
            used += outcome.gas_used
            receipts.append(
                BlockReceipt(
                    success=outcome.success,
                    gas_used=outcome.gas_used,
                    cumulative_gas_used=used,
                    effective_gas_price=transaction.effective_gas_price(context.base_fee),
                    logs=outcome.logs,
                    first_log_index=log_index,
                    created=outcome.created,
                    bloom=logs_bloom(outcome.logs),
                )
            )
            transactions.append(transaction)
            log_index += len(outcome.logs)
        block = Block(
            number=context.number,
            parent_hash=parent.hash,
            timestamp=context.timestamp,
            gas_limit=context.gas_limit,
            gas_used=used,
            base_fee=context.base_fee,
            coinbase=context.coinbase,
            randomness=context.randomness,
            state_root=self.roots.next(state.changes),
            transactions=tuple(transactions),
            receipts=tuple(receipts),
            transactions_root=EMPTY_ROOT,
            receipts_root=EMPTY_ROOT,
            bloom=0,
            version=self.world.version + 1,
        )
        return block.sealed(), state

    def _seal(self, candidates: list[DecodedTransaction]) -> Block:
        block, state = self._build(candidates)
        if self._next_timestamp is not None:
            self._offset = self._next_timestamp - int(time.time())
            self._next_timestamp = None
        self._next_base_fee = None
        self._next_randomness = None
        self._keep(state.changes, block)
        for transaction in block.transactions:
            self.pool.remove(transaction.hash)
        self.pool.forget_used_nonces(self.world)
        for listener in list(self.listeners):
            listener(block, False)
        return block

    def _keep(self, changes: Changes, block: Block | None) -> None:
        changed = self.world.commit(changes)
        self.roots.keep(changes, None if block is None else block.state_root)
        if self._store is not None:
            self._store.append(Entry(changed, block, self._offset))
        if block is not None:
            self._index(block)

    def _index(self, block: Block) -> None:
        self.blocks.append(block)
        self._by_hash[block.hash] = block.number
        for index, transaction in enumerate(block.transactions):
            self._transactions[transaction.hash] = (block.number, index)

    def _block_hash(self, number: int) -> bytes:
        return self.blocks[number].hash if 0 <= number < len(self.blocks) else b""

    def _make_genesis(self, settings: Settings) -> None:
        genesis_time = int(time.time()) if settings.genesis_time is None else settings.genesis_time
        self._offset = genesis_time - int(time.time())
        code_hash = keccak(BEACON_ROOTS_CONTRACT_CODE)
        changes = Changes(codes={code_hash: BEACON_ROOTS_CONTRACT_CODE})
        changes.accounts[BEACON_ROOTS_ADDRESS] = AccountState(1, 0, code_hash)
        for address, balance in settings.balances.items():
            changes.accounts[address] = self.world.account(address)._replace(balance=balance)
        block = Block(
            number=0,
            parent_hash=NO_HASH,
            timestamp=genesis_time,
            gas_limit=settings.gas_limit,
            gas_used=0,
            base_fee=settings.base_fee,
            coinbase=settings.coinbase,
            randomness=NO_HASH,
            state_root=self.roots.next(changes),
            transactions=(),
            receipts=(),
            transactions_root=EMPTY_ROOT,
            receipts_root=EMPTY_ROOT,
            bloom=0,
            version=self.world.version + 1,
        )
        self._keep(changes, block.sealed())

    def _restore(self, store: Store) -> None:
        for entry in store.entries():
            self.world.commit(entry.changes)
            self.roots.keep(entry.changes, None if entry.block is None else entry.block.state_root)
            self._offset = entry.time_offset
            if entry.block is not None:
                self._index(entry.block)
        self.gas_limit = self.head.gas_limit
        self.coinbase = self.head.coinbase

    def copy(self) -> Chain:
        """A copy of this chain in memory, without its snapshots and listeners."""
        twin = object.__new__(Chain)
        twin.__dict__ = self.__dict__ | {
            "pool": self.pool.copy(),
            "world": self.world.copy(),
            "roots": self.roots.copy(),
            "blocks": list(self.blocks),
            "impersonated": set(self.impersonated),
            "listeners": [],
            "arrivals": [],
            "_store": None,
            "_by_hash": dict(self._by_hash),
            "_transactions": dict(self._transactions),
            "_snapshots": {},
        }
        return twin

    # Developer methods

    def change(self, changes: Changes) -> None:
        """Change the state between two blocks."""
        self._keep(changes, None)

    def snapshot(self) -> int:
        """Take a snapshot. Returns the number to pass to `revert`."""
        self._snapshots_taken += 1
        self._snapshots[self._snapshots_taken] = _Snapshot(
            version=self.world.version,
            entries=len(self.blocks),
            pool=self.pool.copy(),
            offset=self._offset,
            next_timestamp=self._next_timestamp,
        )
        return self._snapshots_taken

    def revert(self, number: int) -> bool:
        """Return to a snapshot, and delete it and all later ones. Returns False if it does not exist."""
        snapshot = self._snapshots.get(number)
        if snapshot is None:
            return False
        self._snapshots = {taken: kept for taken, kept in self._snapshots.items() if taken < number}
        self.world.undo(snapshot.version)
        self.roots.undo(snapshot.version)
        undone = self.blocks[snapshot.entries :]
        del self.blocks[snapshot.entries :]
        for block in undone:
            del self._by_hash[block.hash]
            for transaction in block.transactions:
                del self._transactions[transaction.hash]
        self.pool = snapshot.pool
        self._offset = snapshot.offset
        self._next_timestamp = snapshot.next_timestamp
        if self._store is not None:
            self._store.truncate(snapshot.version)
        for block in reversed(undone):
            for listener in list(self.listeners):
                listener(block, True)
        return True


def call_of(transaction: DecodedTransaction, base_fee: int) -> ExternalMessage:
    """The message that a transaction sends in a block with this base fee."""
    return ExternalMessage(
        sender=transaction.sender,
        to=transaction.to,
        value=transaction.value,
        data=transaction.data,
        gas=transaction.gas,
        gas_price=transaction.effective_gas_price(base_fee),
        tip=transaction.effective_tip(base_fee),
        access_list=transaction.access_list,
    )


def block_logs(block: Block, *, removed: bool = False) -> Iterator[MinedLog]:
    """The logs of one block, in order."""
    for index, receipt in enumerate(block.receipts):
        for offset, log in enumerate(receipt.logs):
            yield MinedLog(log, Location(block, index), receipt.first_log_index + offset, removed)


def note_beacon_root(state: EvmState, timestamp: int) -> None:
    """Store what the system call at the start of each block stores (EIP-4788), with a parent root of zero."""
    state.start_transaction()
    state.set_storage(BEACON_ROOTS_ADDRESS, timestamp % HISTORY_BUFFER_LENGTH, timestamp)
