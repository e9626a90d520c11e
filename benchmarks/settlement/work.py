# SPDX-License-Identifier: Apache-2.0
"""What a settlement run does between its log and its signed batches, step by step."""

from __future__ import annotations

import asyncio
from pathlib import Path

from eth_utils.address import to_checksum_address

from serving_network.messages.prices import Prices, hash_requests
from serving_network.messages.typed_data import TEESettlement, UserSettlement
from serving_network.settlement.journal import Journal
from serving_network.settlement.recording import record
from serving_network.settlement.report import Report, no_progress
from serving_network.store.opening import Identity
from serving_network.usage_logs.reader import UsageLog
from serving_network.wallet.local import LocalTeeSigner

PROVIDER = to_checksum_address("0x" + "b2" * 20)
CONTRACT = to_checksum_address("0x" + "c3" * 20)
IDENTITY = Identity(31337, "0x", CONTRACT, PROVIDER)
PRICES = Prices(2 * 10**13, 6 * 10**13)
TEE = LocalTeeSigner(b"\x07" * 32)


def refuse(row: object) -> None:
    """No row of the benchmark's log may be rejected."""
    raise AssertionError(row)


def read_all(path: Path) -> int:
    """Read a log, and store nothing."""
    return sum(1 for _ in UsageLog(path).rows(refuse))


def record_all(journal: Journal, path: Path, *, reread: bool = False) -> Report:
    """Record what is new in a log, as a run does."""
    report = Report(31337, CONTRACT, PROVIDER)
    log = UsageLog(path, reread=reread)
    asyncio.run(record(log, journal, PRICES, report, reject=refuse, progress=no_progress))
    return report


def sign_all(journal: Journal) -> int:
    """Hash every user's open requests and sign a settlement for each."""
    users = journal.users()
    for user in users:
        requests_hash, fee, _ = hash_requests(journal.charges(user))
        TEE.sign_typed(TEESettlement(PROVIDER, UserSettlement(user.address, fee, 1, requests_hash)), 31337, CONTRACT)
    return len(users)
