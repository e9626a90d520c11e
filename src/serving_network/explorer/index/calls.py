# SPDX-License-Identifier: Apache-2.0
"""Which ABI a followed contract has, and the calls in transactions to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from serving_network.contracts import load
from serving_network.contracts.codec import MalformedData
from serving_network.contracts.models import artifact_of

if TYPE_CHECKING:
    from serving_network.contracts.codec import Decoded, Interface

LEDGER: Final = "ledger"
SERVICE: Final = "service"
BEACON: Final = "beacon"

COUNTED: Final = "balances_from"
"""The setting of a service that says whose events tell its users' balances: its own, or only those of the ledger.

A service of unknown kind, without an account book, or that emits no BalanceUpdated after a transfer, is counted by what
the ledger moves into and out of it."""
BY_EVENTS: Final = "service"
BY_LEDGER: Final = "ledger"


def interface_of(role: str, kind: str) -> Interface:
    """The ABI of a contract."""
    if role == LEDGER:
        return load("LedgerManager").interface
    if role == BEACON:
        return load("UpgradeableBeacon").interface
    return load(artifact_of(kind)).interface


def decoded_call(role: str, kind: str, data: bytes) -> Decoded | None:
    """The call in a transaction's input; None if it calls no known function, or is malformed."""
    try:
        return interface_of(role, kind).decode_call(data)
    except MalformedData:
        return None
