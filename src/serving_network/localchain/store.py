# SPDX-License-Identifier: Apache-2.0
"""The chain on disk: a log of the changes of each block, in SQLite, one transaction per entry.

A killed process leaves the last entry either complete or absent. Reading the log from its start rebuilds the state
without running any contract.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_network.errors import ConfigurationError, RpcError
from serving_network.untrusted import printable

from .blocks import Block, BlockReceipt
from .evm import Log
from .transactions import decode_transaction
from .world import AccountState, Changes

FILE_NAME = "chain.sqlite3"
FORMAT = "1"


@dataclass(frozen=True)
class Entry:
    """One commit of the state, its block (None for a developer method), and the clock's offset in seconds."""

    changes: Changes
    block: Block | None
    time_offset: int


class Store:
    """The log of one chain in a directory, which only one process at a time may use.

    Raises ConfigurationError if another process uses it, or if it contains another chain.
    """

    def __init__(self, directory: Path, chain_id: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / FILE_NAME
        self._database = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(chain_id)
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise _unusable(directory, error) from error
        except ConfigurationError:
            self._database.close()
            raise

    def _prepare(self, chain_id: int) -> None:
        database = self._database
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        database.execute("CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        database.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?), ('chain_id', ?)", (FORMAT, str(chain_id)))
        database.execute("COMMIT")
        found = dict(database.execute("SELECT key, value FROM meta"))
        if found != {"format": FORMAT, "chain_id": str(chain_id)}:
            raise ConfigurationError(
                f"{self._path} contains another chain: chain id {found['chain_id']}, format {found['format']}.",
                cause=f"This run is for chain id {chain_id} and format {FORMAT}.",
                next_step="Use another directory for --state, or the chain id of this one.",
            )
        self._count = int(database.execute("SELECT count(*) FROM entries").fetchone()[0])

    @property
    def count(self) -> int:
        """The number of entries."""
        return self._count

    def append(self, entry: Entry) -> None:
        """Write one entry. After the return it survives a kill of the process."""
        self._count += 1
        self._database.execute("INSERT INTO entries VALUES (?, ?)", (self._count, _dump(entry)))

    def truncate(self, count: int) -> None:
        """Keep only the first `count` entries."""
        self._database.execute("DELETE FROM entries WHERE number > ?", (count,))
        self._count = count

    def entries(self) -> Iterator[Entry]:
        """All entries, in order."""
        for number, (body,) in enumerate(self._database.execute("SELECT body FROM entries ORDER BY number"), 1):
            try:
                yield _load(json.loads(body), number)
            except (ValueError, KeyError, TypeError, AttributeError, RpcError) as error:
                raise ConfigurationError(
                    f"{self._path} cannot be read as a chain: entry {number} is damaged.",
                    cause=printable(repr(error)),
                    next_step=f"Move {self._path.parent} to another place and start again.",
                ) from error

    def close(self) -> None:
        self._database.close()


def _unusable(directory: Path, error: sqlite3.DatabaseError) -> ConfigurationError:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return ConfigurationError(
            f"The chain in {directory} is in use by another process.",
            cause="Only one process at a time may write to a chain.",
            next_step="Stop that process, or use another directory for --state.",
        )
    return ConfigurationError(
        f"{directory / FILE_NAME} cannot be read as a chain: {error}.",
        next_step=f"Move {directory} to another place and start again.",
    )


def _dump(entry: Entry) -> str:
    changes, block = entry.changes, entry.block
    body: dict[str, Any] = {
        "time_offset": entry.time_offset,
        "accounts": [
            [address.hex(), account.nonce, str(account.balance), account.code_hash.hex()]
            for address, account in changes.accounts.items()
        ],
        "slots": [[address.hex(), f"{slot:x}", f"{value:x}"] for (address, slot), value in changes.slots.items()],
        "codes": [[code_hash.hex(), code.hex()] for code_hash, code in changes.codes.items()],
    }
    if block is not None:
        body["block"] = {
            "number": block.number,
            "parent_hash": block.parent_hash.hex(),
            "timestamp": block.timestamp,
            "gas_limit": block.gas_limit,
            "gas_used": block.gas_used,
            "base_fee": block.base_fee,
            "coinbase": block.coinbase.hex(),
            "randomness": block.randomness.hex(),
            "state_root": block.state_root.hex(),
            "transactions_root": block.transactions_root.hex(),
            "receipts_root": block.receipts_root.hex(),
            "bloom": f"{block.bloom:x}",
            "hash": block.hash.hex(),
            "transactions": [[tx.raw.hex(), tx.sender.hex()] for tx in block.transactions],
            "receipts": [_dump_receipt(receipt) for receipt in block.receipts],
        }
    return json.dumps(body, separators=(",", ":"))


def _dump_receipt(receipt: BlockReceipt) -> list[Any]:
    return [
        receipt.success,
        receipt.gas_used,
        receipt.cumulative_gas_used,
        receipt.effective_gas_price,
        [[log.address.hex(), [topic.hex() for topic in log.topics], log.data.hex()] for log in receipt.logs],
        receipt.first_log_index,
        receipt.created.hex() if receipt.created else None,
        f"{receipt.bloom:x}",
    ]


def _load(body: dict[str, Any], version: int) -> Entry:
    changes = Changes(
        accounts={
            bytes.fromhex(address): AccountState(nonce, int(balance), bytes.fromhex(code_hash))
            for address, nonce, balance, code_hash in body["accounts"]
        },
        slots={(bytes.fromhex(address), int(slot, 16)): int(value, 16) for address, slot, value in body["slots"]},
        codes={bytes.fromhex(code_hash): bytes.fromhex(code) for code_hash, code in body["codes"]},
    )
    stored = body.get("block")
    return Entry(changes, None if stored is None else _load_block(stored, version), body["time_offset"])


def _load_block(stored: dict[str, Any], version: int) -> Block:
    return Block(
        number=stored["number"],
        parent_hash=bytes.fromhex(stored["parent_hash"]),
        timestamp=stored["timestamp"],
        gas_limit=stored["gas_limit"],
        gas_used=stored["gas_used"],
        base_fee=stored["base_fee"],
        coinbase=bytes.fromhex(stored["coinbase"]),
        randomness=bytes.fromhex(stored["randomness"]),
        state_root=bytes.fromhex(stored["state_root"]),
        transactions=tuple(
            decode_transaction(bytes.fromhex(raw), bytes.fromhex(sender)) for raw, sender in stored["transactions"]
        ),
        receipts=tuple(_load_receipt(receipt) for receipt in stored["receipts"]),
        transactions_root=bytes.fromhex(stored["transactions_root"]),
        receipts_root=bytes.fromhex(stored["receipts_root"]),
        bloom=int(stored["bloom"], 16),
        version=version,
        hash=bytes.fromhex(stored["hash"]),
    )


def _load_receipt(stored: list[Any]) -> BlockReceipt:
    success, gas_used, cumulative, price, logs, first_log_index, created, bloom = stored
    return BlockReceipt(
        success=success,
        gas_used=gas_used,
        cumulative_gas_used=cumulative,
        effective_gas_price=price,
        logs=tuple(
            Log(bytes.fromhex(address), tuple(bytes.fromhex(topic) for topic in topics), bytes.fromhex(data))
            for address, topics, data in logs
        ),
        first_log_index=first_log_index,
        created=bytes.fromhex(created) if created else None,
        bloom=int(bloom, 16),
    )
