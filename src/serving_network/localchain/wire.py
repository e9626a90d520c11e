# SPDX-License-Identifier: Apache-2.0
"""The JSON-RPC format: numbers in minimal hex, bytes as 0x strings, and the fields of the objects."""

from __future__ import annotations

from typing import Any

from serving_network.addresses import to_checksum_address
from serving_network.errors import RpcError

from .blocks import BLOOM_BYTES, EMPTY_ROOT, EMPTY_UNCLES_HASH, NO_HASH, NO_NONCE, Block
from .core import Location, MinedLog
from .transactions import ACCESS_LIST, DYNAMIC_FEE, AccessList, DecodedTransaction

INVALID_PARAMS = -32602
UNSUPPORTED = -32004
EXECUTION_REVERTED = 3


def invalid(message: str) -> RpcError:
    """The error for invalid arguments."""
    return RpcError(INVALID_PARAMS, message)


def unsupported(what: str) -> RpcError:
    """The error for what other nodes can do."""
    return RpcError(UNSUPPORTED, f"the embedded chain does not support {what}; anvil may: serving up --node anvil")


def read_quantity(value: Any, what: str) -> int:
    """Parse a number in hex, or a plain JSON integer, which many clients send to developer methods."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value[:2] in ("0x", "0X") and len(value) > 2:
        try:
            return int(value[2:], 16)
        except ValueError:
            pass
    raise invalid(f"{what} must be a hex number such as 0x1, not {value!r}")


def read_flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise invalid(f"{what} must be true or false")
    return value


def read_bytes(value: Any, what: str, size: int | None = None) -> bytes:
    """Parse a 0x string; `size` is the expected number of bytes."""
    if not isinstance(value, str) or value[:2] not in ("0x", "0X"):
        raise invalid(f"{what} must be a 0x string, not {value!r}")
    try:
        data = bytes.fromhex(value[2:])
    except ValueError:
        raise invalid(f"{what} is not valid hex") from None
    if size is not None and len(data) != size:
        raise invalid(f"{what} must be {size} bytes, not {len(data)}")
    return data


def read_address(value: Any, what: str = "address") -> bytes:
    return read_bytes(value, what, 20)


def read_hash(value: Any, what: str = "hash") -> bytes:
    return read_bytes(value, what, 32)


def read_slot(value: Any) -> int:
    """Parse a storage slot, which some clients pad to 32 bytes."""
    slot = read_quantity(value, "storage slot")
    if slot >= 2**256:
        raise invalid("storage slot must be below 2**256")
    return slot


def read_access_list(value: Any) -> AccessList:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise invalid("accessList must be a list of objects")
    return tuple(
        (
            read_address(entry.get("address"), "accessList address"),
            tuple(read_slot(slot) for slot in entry.get("storageKeys") or ()),
        )
        for entry in value
    )


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def address_text(address: bytes | None) -> str | None:
    """An address with checksum, which every client accepts."""
    return None if address is None else str(to_checksum_address(address))


def transaction_json(transaction: DecodedTransaction, location: Location | None) -> dict[str, Any]:
    """A transaction as JSON; `location` is None while it is pending."""
    block = location.block if location else None
    shown: dict[str, Any] = {
        "blockHash": hexed(block.hash) if block else None,
        "blockNumber": hex(block.number) if block else None,
        "transactionIndex": hex(location.index) if location else None,
        "type": hex(transaction.type),
        "hash": hexed(transaction.hash),
        "from": address_text(transaction.sender),
        "to": address_text(transaction.to),
        "nonce": hex(transaction.nonce),
        "gas": hex(transaction.gas),
        "value": hex(transaction.value),
        "input": hexed(transaction.data),
        "v": hex(transaction.v),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
    }
    price = transaction.effective_gas_price(block.base_fee) if block else transaction.max_fee_per_gas
    shown["gasPrice"] = hex(price)
    if transaction.chain_id is not None:
        shown["chainId"] = hex(transaction.chain_id)
    if transaction.type == DYNAMIC_FEE:
        shown["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        shown["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    if transaction.type in (ACCESS_LIST, DYNAMIC_FEE):
        shown["yParity"] = hex(transaction.v)
        shown["accessList"] = access_list_json(transaction.access_list)
    return shown


def access_list_json(accesses: AccessList) -> list[dict[str, Any]]:
    return [
        {"address": address_text(address), "storageKeys": [hexed(slot.to_bytes(32, "big")) for slot in slots]}
        for address, slots in accesses
    ]


def receipt_json(location: Location) -> dict[str, Any]:
    transaction, receipt, block = location.transaction, location.receipt, location.block
    return {
        "transactionHash": hexed(transaction.hash),
        "transactionIndex": hex(location.index),
        "blockHash": hexed(block.hash),
        "blockNumber": hex(block.number),
        "from": address_text(transaction.sender),
        "to": address_text(transaction.to),
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "gasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(receipt.effective_gas_price),
        "contractAddress": address_text(receipt.created if transaction.to is None else None),
        "logs": [
            log_json(MinedLog(log, location, receipt.first_log_index + offset))
            for offset, log in enumerate(receipt.logs)
        ],
        "logsBloom": hexed(receipt.bloom.to_bytes(BLOOM_BYTES, "big")),
        "status": hex(int(receipt.success)),
        "type": hex(transaction.type),
    }


def log_json(mined: MinedLog) -> dict[str, Any]:
    block = mined.location.block
    return {
        "address": address_text(mined.log.address),
        "topics": [hexed(topic) for topic in mined.log.topics],
        "data": hexed(mined.log.data),
        "blockNumber": hex(block.number),
        "blockHash": hexed(block.hash),
        "blockTimestamp": hex(block.timestamp),
        "transactionHash": hexed(mined.location.transaction.hash),
        "transactionIndex": hex(mined.location.index),
        "logIndex": hex(mined.index),
        "removed": mined.removed,
    }


def header_json(block: Block) -> dict[str, Any]:
    """A block without its transactions, as sent by `newHeads`."""
    return {
        "number": hex(block.number),
        "hash": hexed(block.hash),
        "parentHash": hexed(block.parent_hash),
        "sha3Uncles": hexed(EMPTY_UNCLES_HASH),
        "miner": address_text(block.coinbase),
        "stateRoot": hexed(block.state_root),
        "transactionsRoot": hexed(block.transactions_root),
        "receiptsRoot": hexed(block.receipts_root),
        "logsBloom": hexed(block.bloom.to_bytes(BLOOM_BYTES, "big")),
        "difficulty": "0x0",
        "gasLimit": hex(block.gas_limit),
        "gasUsed": hex(block.gas_used),
        "timestamp": hex(block.timestamp),
        "extraData": "0x",
        "mixHash": hexed(block.randomness),
        "nonce": hexed(NO_NONCE),
        "baseFeePerGas": hex(block.base_fee),
        "withdrawalsRoot": hexed(EMPTY_ROOT),
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": hexed(NO_HASH),
    }


def block_json(block: Block, *, full: bool, pending: bool = False) -> dict[str, Any]:
    """A block with its transactions, in full or by hash.

    A pending block has the hash that it would have if it were mined now: some clients read no block without one.
    """
    shown = header_json(block)
    shown["uncles"] = []
    shown["withdrawals"] = []
    shown["size"] = hex(len(block.encoded_header) + sum(len(transaction.raw) for transaction in block.transactions))
    if pending:
        shown |= {"nonce": None, "logsBloom": None, "miner": None}
    shown["transactions"] = [
        transaction_json(transaction, None if pending else Location(block, index)) if full else hexed(transaction.hash)
        for index, transaction in enumerate(block.transactions)
    ]
    return shown
