# SPDX-License-Identifier: Apache-2.0
"""Developer methods, which change time, mining, snapshots and the state.

They have the names that Hardhat, anvil and Ganache use, so that test tools work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from serving_network.hashing import keccak

from .core import Chain
from .methods import Methods
from .wire import (
    address_text,
    invalid,
    read_address,
    read_bytes,
    read_flag,
    read_hash,
    read_quantity,
    read_slot,
    transaction_json,
)
from .world import AccountState, Changes

PREFIXES = ("hardhat", "anvil")
MOST_BLOCKS_AT_ONCE = 10_000


@dataclass(frozen=True)
class DeveloperMethods:
    """The methods that ordinary nodes do not have."""

    chain: Chain

    def methods(self) -> Methods:
        both: dict[str, Callable[..., Any]] = {
            "setBalance": self.set_balance,
            "setCode": self.set_code,
            "setNonce": self.set_nonce,
            "setStorageAt": self.set_storage,
            "impersonateAccount": self.impersonate,
            "stopImpersonatingAccount": self.stop_impersonating,
            "autoImpersonateAccount": self.impersonate_all,
            "dropTransaction": lambda transaction: self.chain.pool.remove(read_hash(transaction)),
            "dropAllTransactions": self.drop_all,
            "setNextBlockBaseFeePerGas": self.set_next_base_fee,
            "setCoinbase": self.set_coinbase,
            "setPrevRandao": self.set_randomness,
            "getAutomine": lambda: self.chain.automine,
            "mine": self.mine_many,
            "snapshot": lambda: hex(self.chain.snapshot()),
            "revert": lambda number: self.chain.revert(read_quantity(number, "snapshot")),
            "setAutomine": self.set_automine,
            "increaseTime": lambda seconds: hex(self.chain.increase_time(read_quantity(seconds, "seconds"))),
            "setNextBlockTimestamp": self.set_next_timestamp,
            "setBlockGasLimit": self.set_gas_limit,
        }
        evm = ("snapshot", "revert", "setAutomine", "increaseTime", "setNextBlockTimestamp", "setBlockGasLimit")
        return {f"{prefix}_{name}": method for prefix in PREFIXES for name, method in both.items()} | {
            **{f"evm_{name}": both[name] for name in evm},
            "evm_mine": self.mine,
            "txpool_status": self.pool_status,
            "txpool_content": self.pool_content,
        }

    # Mining and time

    def mine(self, asked: Any = None) -> str:
        """Mine one block, or n with `{"blocks": n}`. A plain number is the timestamp of the block."""
        blocks = 1
        if isinstance(asked, Mapping):
            blocks = read_quantity(asked.get("blocks", 1), "blocks")
            asked = asked.get("timestamp")
        if asked is not None:
            self.chain.set_next_timestamp(read_quantity(asked, "timestamp"))
        self._mine(blocks, 0)
        return "0x0"

    def mine_many(self, blocks: Any = "0x1", interval: Any = "0x0") -> None:
        """Mine several blocks, `interval` seconds apart."""
        self._mine(read_quantity(blocks, "blocks"), read_quantity(interval, "interval"))

    def _mine(self, blocks: int, interval: int) -> None:
        if blocks > MOST_BLOCKS_AT_ONCE:
            raise invalid(f"at most {MOST_BLOCKS_AT_ONCE} blocks can be mined at once")
        for number in range(blocks):
            if number and interval:
                self.chain.set_next_timestamp(self.chain.head.timestamp + interval)
            self.chain.mine()

    def set_automine(self, wanted: Any) -> bool:
        self.chain.automine = read_flag(wanted, "automine")
        if wanted:
            self.chain.mine_waiting()
        return True

    def set_next_timestamp(self, timestamp: Any) -> str:
        when = read_quantity(timestamp, "timestamp")
        self.chain.set_next_timestamp(when)
        return hex(when)

    def set_gas_limit(self, limit: Any) -> bool:
        self.chain.gas_limit = read_quantity(limit, "gas limit")
        return True

    def set_next_base_fee(self, fee: Any) -> None:
        self.chain.set_next_base_fee(read_quantity(fee, "base fee"))

    def set_coinbase(self, address: Any) -> bool:
        self.chain.coinbase = read_address(address)
        return True

    def set_randomness(self, randomness: Any) -> bool:
        self.chain.set_next_randomness(read_hash(randomness, "randomness"))
        return True

    # State

    def set_balance(self, address: Any, balance: Any) -> bool:
        return self._set_account(address, balance=read_quantity(balance, "balance"))

    def set_nonce(self, address: Any, nonce: Any) -> bool:
        return self._set_account(address, nonce=read_quantity(nonce, "nonce"))

    def set_code(self, address: Any, code: Any) -> bool:
        content = read_bytes(code, "code")
        return self._set_account(address, {keccak(content): content}, code_hash=keccak(content))

    def set_storage(self, address: Any, slot: Any, value: Any) -> bool:
        word = int.from_bytes(read_bytes(value, "value", 32), "big")
        self.chain.change(Changes(slots={(read_address(address), read_slot(slot)): word}))
        return True

    def _set_account(self, address: Any, codes: dict[bytes, bytes] | None = None, **fields: Any) -> bool:
        who = read_address(address)
        account: AccountState = self.chain.world.account(who)._replace(**fields)
        self.chain.change(Changes(accounts={who: account}, codes=codes or {}))
        return True

    def impersonate(self, address: Any) -> bool:
        self.chain.impersonated.add(read_address(address))
        return True

    def stop_impersonating(self, address: Any) -> bool:
        self.chain.impersonated.discard(read_address(address))
        return True

    def impersonate_all(self, wanted: Any) -> bool:
        self.chain.impersonates_all = read_flag(wanted, "autoImpersonate")
        return True

    # Pool

    def drop_all(self) -> bool:
        for transaction in self.chain.pool.all():
            self.chain.pool.remove(transaction.hash)
        return True

    def pool_status(self) -> dict[str, str]:
        pending, queued = self.chain.waiting()
        return {"pending": hex(len(pending)), "queued": hex(len(queued))}

    def pool_content(self) -> dict[str, Any]:
        content: dict[str, dict[str, dict[str, Any]]] = {"pending": {}, "queued": {}}
        for name, transactions in zip(content, self.chain.waiting(), strict=True):
            for transaction in transactions:
                by_nonce = content[name].setdefault(str(address_text(transaction.sender)), {})
                by_nonce[str(transaction.nonce)] = transaction_json(transaction, None)
        return content
