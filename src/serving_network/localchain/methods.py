# SPDX-License-Identifier: Apache-2.0
"""The JSON-RPC methods that every node has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_defunct, encode_typed_data
from eth_keys.datatypes import PrivateKey

from serving_network.errors import RpcError
from serving_network.hashing import keccak
from serving_network.untrusted import parse_json

from .blocks import Block, next_base_fee
from .core import Chain, Location, block_logs
from .events import Criteria, Events
from .execution import CallRequest, Overridden, View, access_list_of, call, estimate, failure
from .transactions import (
    ACCESS_LIST,
    DYNAMIC_FEE,
    INVALID_INPUT,
    LEGACY,
    DecodedTransaction,
    UnsignedTransaction,
    decode_transaction,
    sign_transaction,
)
from .wire import (
    access_list_json,
    address_text,
    block_json,
    hexed,
    invalid,
    read_address,
    read_bytes,
    read_hash,
    read_quantity,
    read_slot,
    receipt_json,
    transaction_json,
)

SUGGESTED_TIP = 10**9
MOST_FEE_HISTORY = 1024

Methods = dict[str, Callable[..., Any]]


class BlockChoice:
    """Resolves the block argument of a method."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def is_pending(self, asked: Any) -> bool:
        return bool(asked == "pending")

    def find(self, asked: Any) -> Block | None:
        """The block of a tag, a number or an EIP-1898 object; None if there is no such block."""
        if asked is None or asked in ("latest", "safe", "finalized"):
            return self._chain.head
        if asked == "earliest":
            return self._chain.blocks[0]
        if isinstance(asked, Mapping):
            if "blockHash" in asked:
                return self._chain.block_by_hash(read_hash(asked["blockHash"], "blockHash"))
            asked = asked.get("blockNumber")
        number = read_quantity(asked, "block number")
        return self._chain.blocks[number] if number < len(self._chain.blocks) else None

    def must_find(self, asked: Any) -> Block:
        block = self.find(asked)
        if block is None:
            raise RpcError(INVALID_INPUT, "header not found")
        return block

    def view(self, asked: Any) -> View:
        """The block and the state after it; for "pending", the next block with the transactions in the pool."""
        if self.is_pending(asked):
            context = self._chain.next_context()
            if not len(self._chain.pool):
                return View(self._chain.world, context)
            return View(self._chain.preview()[1], context)
        block = self.must_find(asked)
        return View(self._chain.state_at(block), self._chain.context_of(block))


@dataclass(frozen=True)
class NodeMethods:
    """Methods about the node itself."""

    chain: Chain

    def methods(self) -> Methods:
        return {
            # Test helpers of Hardhat work only with a node of this name, and the developer methods are Hardhat's.
            "web3_clientVersion": lambda: f"HardhatNetwork/serving-network/embedded/py-evm-{version('py-evm')}",
            "web3_sha3": lambda data: hexed(keccak(read_bytes(data, "data"))),
            "net_version": lambda: str(self.chain.chain_id),
            "net_listening": lambda: True,
            "net_peerCount": lambda: "0x0",
            "eth_chainId": lambda: hex(self.chain.chain_id),
            "eth_syncing": lambda: False,
            "eth_mining": lambda: self.chain.automine,
            "eth_protocolVersion": lambda: "0x41",
        }


@dataclass(frozen=True)
class BlockMethods:
    """Methods about blocks, transactions and receipts."""

    chain: Chain
    choice: BlockChoice

    def methods(self) -> Methods:
        return {
            "eth_blockNumber": lambda: hex(self.chain.head.number),
            "eth_getBlockByNumber": self.by_number,
            "eth_getBlockByHash": self.by_hash,
            "eth_getBlockTransactionCountByNumber": lambda number: _count(self.choice.find(number)),
            "eth_getBlockTransactionCountByHash": lambda block: _count(self.chain.block_by_hash(read_hash(block))),
            "eth_getUncleCountByBlockNumber": lambda number: "0x0" if self.choice.find(number) else None,
            "eth_getUncleCountByBlockHash": lambda block: "0x0" if self.chain.block_by_hash(read_hash(block)) else None,
            "eth_getTransactionByHash": self.transaction,
            "eth_getTransactionByBlockNumberAndIndex": self.transaction_in_number,
            "eth_getTransactionByBlockHashAndIndex": self.transaction_in_hash,
            "eth_getRawTransactionByHash": self.raw_transaction,
            "eth_getTransactionReceipt": self.receipt,
            "eth_getBlockReceipts": self.block_receipts,
        }

    def by_number(self, number: Any, full: bool = False) -> Any:
        if self.choice.is_pending(number):
            return block_json(self.chain.preview()[0], full=full, pending=True)
        block = self.choice.find(number)
        return None if block is None else block_json(block, full=full)

    def by_hash(self, block_hash: Any, full: bool = False) -> Any:
        block = self.chain.block_by_hash(read_hash(block_hash))
        return None if block is None else block_json(block, full=full)

    def transaction(self, transaction_hash: Any) -> Any:
        wanted = read_hash(transaction_hash)
        location = self.chain.locate(wanted)
        if location is not None:
            return transaction_json(location.transaction, location)
        waiting = self.chain.pool.get(wanted)
        return None if waiting is None else transaction_json(waiting, None)

    def transaction_in_number(self, number: Any, index: Any) -> Any:
        return _transaction_in(self.choice.find(number), index)

    def transaction_in_hash(self, block_hash: Any, index: Any) -> Any:
        return _transaction_in(self.chain.block_by_hash(read_hash(block_hash)), index)

    def raw_transaction(self, transaction_hash: Any) -> Any:
        wanted = read_hash(transaction_hash)
        location = self.chain.locate(wanted)
        found = location.transaction if location else self.chain.pool.get(wanted)
        return None if found is None else hexed(found.raw)

    def receipt(self, transaction_hash: Any) -> Any:
        location = self.chain.locate(read_hash(transaction_hash))
        return None if location is None else receipt_json(location)

    def block_receipts(self, asked: Any) -> Any:
        block = (
            self.chain.block_by_hash(read_hash(asked))
            if isinstance(asked, str) and len(asked) == 66
            else self.choice.find(asked)
        )
        if block is None:
            return None
        return [receipt_json(Location(block, index)) for index in range(len(block.transactions))]


def _count(block: Block | None) -> str | None:
    return None if block is None else hex(len(block.transactions))


def _transaction_in(block: Block | None, index: Any) -> Any:
    place = read_quantity(index, "index")
    if block is None or place >= len(block.transactions):
        return None
    return transaction_json(block.transactions[place], Location(block, place))


@dataclass(frozen=True)
class StateMethods:
    """Methods about accounts, and calls of contracts."""

    chain: Chain
    choice: BlockChoice

    def methods(self) -> Methods:
        return {
            "eth_getBalance": self.balance,
            "eth_getTransactionCount": self.nonce,
            "eth_getCode": self.code,
            "eth_getStorageAt": self.storage,
            "eth_call": self.call,
            "eth_estimateGas": self.estimate,
            "eth_createAccessList": self.access_list,
        }

    def balance(self, address: Any, block: Any = "latest") -> str:
        return hex(self.choice.view(block).state.account(read_address(address)).balance)

    def nonce(self, address: Any, block: Any = "latest") -> str:
        who = read_address(address)
        if self.choice.is_pending(block):
            return hex(self.chain.next_nonce(who))
        return hex(self.choice.view(block).state.account(who).nonce)

    def code(self, address: Any, block: Any = "latest") -> str:
        state = self.choice.view(block).state
        return hexed(state.code(state.account(read_address(address)).code_hash))

    def storage(self, address: Any, slot: Any, block: Any = "latest") -> str:
        value = self.choice.view(block).state.slot((read_address(address), read_slot(slot)))
        return hexed(value.to_bytes(32, "big"))

    def call(self, transaction: Any, block: Any = "latest", overrides: Any = None) -> str:
        return hexed(call(CallRequest.read(transaction, self.chain.chain_id), self._view(block, overrides)))

    def estimate(self, transaction: Any, block: Any = None, overrides: Any = None) -> str:
        # An estimate is for the next block, whose timestamp differs from that of the latest block.
        where = "pending" if block in (None, "latest") else block
        return hex(estimate(CallRequest.read(transaction, self.chain.chain_id), self._view(where, overrides)))

    def access_list(self, transaction: Any, block: Any = "latest") -> dict[str, Any]:
        request = CallRequest.read(transaction, self.chain.chain_id)
        accesses, outcome = access_list_of(request, self.choice.view(block))
        shown = {"accessList": access_list_json(accesses), "gasUsed": hex(outcome.gas_used)}
        return shown if outcome.error is None else shown | {"error": failure(outcome).message}

    def _view(self, block: Any, overrides: Any) -> View:
        view = self.choice.view(block)
        return replace(view, state=Overridden(view.state, overrides)) if overrides else view


@dataclass(frozen=True)
class FeeMethods:
    """Methods about fees."""

    chain: Chain
    choice: BlockChoice

    def methods(self) -> Methods:
        return {
            "eth_gasPrice": lambda: hex(self.chain.next_base_fee + SUGGESTED_TIP),
            "eth_maxPriorityFeePerGas": lambda: hex(SUGGESTED_TIP),
            "eth_blobBaseFee": lambda: "0x1",
            "eth_feeHistory": self.history,
        }

    def history(self, count: Any, newest: Any, percentiles: Any = None) -> dict[str, Any]:
        last = self.chain.head if self.choice.is_pending(newest) else self.choice.must_find(newest)
        size = min(read_quantity(count, "block count"), MOST_FEE_HISTORY, last.number + 1)
        wanted = percentiles or []
        if any(not 0 <= p <= 100 for p in wanted) or sorted(wanted) != list(wanted):
            raise RpcError(
                INVALID_INPUT, "invalid reward percentile: percentiles must be in ascending order from 0 to 100"
            )
        blocks = self.chain.blocks[last.number + 1 - size : last.number + 1]
        history: dict[str, Any] = {
            "oldestBlock": hex(last.number + 1 - size),
            "baseFeePerGas": [hex(block.base_fee) for block in blocks] + [hex(next_base_fee(last))],
            "gasUsedRatio": [block.gas_used / block.gas_limit for block in blocks],
        }
        if wanted:
            history["reward"] = [_rewards(block, wanted) for block in blocks]
        return history


def _rewards(block: Block, percentiles: list[float]) -> list[str]:
    """The tip at each percentile of the block's gas, in ascending order of tips."""
    paid = sorted(
        (transaction.effective_tip(block.base_fee), receipt.gas_used)
        for transaction, receipt in zip(block.transactions, block.receipts, strict=True)
    )
    rewards = []
    for percentile in percentiles:
        threshold, so_far, reward = block.gas_used * percentile / 100, 0, 0
        for tip, gas in paid:
            so_far, reward = so_far + gas, tip
            if so_far >= threshold:
                break
        rewards.append(hex(reward))
    return rewards


@dataclass(frozen=True)
class SendMethods:
    """Methods that send transactions: signed ones, and unsigned ones of accounts whose keys the node has."""

    chain: Chain
    states: StateMethods
    keys: Mapping[bytes, PrivateKey]

    def methods(self) -> Methods:
        return {
            "eth_accounts": lambda: [address_text(address) for address in self.keys],
            "eth_sendRawTransaction": self.send_raw,
            "eth_sendTransaction": self.send,
            "eth_signTransaction": lambda asked: hexed(self._signed_transaction(asked).raw),
            "eth_sign": self.sign,
            "personal_sign": lambda message, address, password="": self.sign(address, message),  # noqa: ARG005
            "eth_signTypedData_v4": self.sign_typed_data,
        }

    def sign(self, address: Any, message: Any) -> str:
        return self._signed(address, encode_defunct(read_bytes(message, "the message")))

    def sign_typed_data(self, address: Any, typed_data: Any) -> str:
        try:
            content = parse_json(typed_data) if isinstance(typed_data, str) else typed_data
            return self._signed(address, encode_typed_data(full_message=content))
        except (ValueError, TypeError, KeyError) as error:
            raise invalid(f"the typed data is invalid: {error}") from error

    def _signed(self, address: Any, message: SignableMessage) -> str:
        key = self._key_of(read_address(address))
        return hexed(bytes(Account.from_key(key.to_bytes()).sign_message(message).signature))

    def _key_of(self, address: bytes) -> PrivateKey:
        if address not in self.keys:
            raise RpcError(INVALID_INPUT, f"unknown account {address_text(address)}")
        return self.keys[address]

    def send_raw(self, raw: Any) -> str:
        return hexed(self.chain.send(decode_transaction(read_bytes(raw, "the raw transaction"))))

    def send(self, asked: Any) -> str:
        return hexed(self.chain.send(self._signed_transaction(asked)))

    def _signed_transaction(self, asked: Any) -> DecodedTransaction:
        request = CallRequest.read(asked, self.chain.chain_id)
        key = self.keys.get(request.sender)
        if request.sender in self.chain.impersonated or (key is None and self.chain.impersonates_all):
            key = None
        elif key is None:
            raise RpcError(INVALID_INPUT, f"unknown account {address_text(request.sender)}")
        base_fee = self.chain.next_base_fee
        kind = _kind(asked)
        tip = request.max_tip
        if tip is None:
            tip = SUGGESTED_TIP if request.max_fee is None else min(SUGGESTED_TIP, request.max_fee)
        most = 2 * base_fee + tip if request.max_fee is None else request.max_fee
        nonce = asked.get("nonce")
        fields = UnsignedTransaction(
            type=kind,
            chain_id=self.chain.chain_id,
            nonce=self.chain.next_nonce(request.sender) if nonce is None else read_quantity(nonce, "nonce"),
            max_fee_per_gas=most,
            max_priority_fee_per_gas=tip if kind == DYNAMIC_FEE else most,
            gas=int(self.states.estimate(asked), 16) if request.gas is None else request.gas,
            to=request.to,
            value=request.value,
            data=request.data,
            access_list=request.call.access_list,
        )
        return fields.as_sent_by(request.sender) if key is None else sign_transaction(key, fields)


def _kind(asked: Mapping[str, Any]) -> int:
    """The type of a transaction: what was asked for if the fields fit, else what the fields are of."""
    priced, listed = asked.get("gasPrice") is not None, asked.get("accessList") is not None
    capped = asked.get("maxFeePerGas") is not None or asked.get("maxPriorityFeePerGas") is not None
    if asked.get("type") is None:
        return DYNAMIC_FEE if not priced else ACCESS_LIST if listed else LEGACY
    kind = read_quantity(asked["type"], "type")
    if (kind == DYNAMIC_FEE and priced) or (kind != DYNAMIC_FEE and capped) or (kind == LEGACY and listed):
        raise invalid(f"a transaction of type {kind} does not have these fields")
    return kind


@dataclass(frozen=True)
class LogMethods:
    """Methods about logs: queries and filters."""

    chain: Chain
    choice: BlockChoice
    events: Events

    def methods(self) -> Methods:
        return {
            "eth_getLogs": self.logs,
            "eth_newFilter": lambda asked: self.events.new_filter(_object(asked)),
            "eth_newBlockFilter": self.events.new_block_filter,
            "eth_newPendingTransactionFilter": self.events.new_pending_filter,
            "eth_getFilterChanges": self.events.changes,
            "eth_getFilterLogs": lambda name: self.logs(self.events.asked_for(name)),
            "eth_uninstallFilter": self.events.uninstall,
        }

    def logs(self, asked: Any) -> list[dict[str, Any]]:
        wanted = _object(asked)
        criteria = Criteria.read(wanted)
        if wanted.get("blockHash") is not None:
            if wanted.get("fromBlock") is not None or wanted.get("toBlock") is not None:
                raise invalid("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
            block = self.chain.block_by_hash(read_hash(wanted["blockHash"], "blockHash"))
            if block is None:
                raise RpcError(INVALID_INPUT, "unknown block")
            return criteria.pick(block_logs(block))
        first, last = self._number(wanted.get("fromBlock")), self._number(wanted.get("toBlock"))
        if first > last:
            if last == self.chain.head.number:  # clients that poll ask from the next block on
                return []
            raise invalid("invalid block range params")
        return criteria.pick(self.chain.logs(first, last))

    def _number(self, asked: Any) -> int:
        if asked is None or self.choice.is_pending(asked):
            return self.chain.head.number
        block = None if isinstance(asked, str) and asked.startswith("0x") else self.choice.find(asked)
        return read_quantity(asked, "block number") if block is None else block.number


def _object(asked: Any) -> Mapping[str, Any]:
    if not isinstance(asked, Mapping):
        raise invalid("the filter must be an object")
    return asked
