# SPDX-License-Identifier: Apache-2.0
"""One check, and how a wallet that cannot pay for the next step gets coins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from serving_network.chain.node import from_quantity
from serving_network.chain.shortage import get_coins
from serving_network.money import describe, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serving_network.clients.read.network import AsyncNetwork

Role = Literal["user", "provider", "owner"]

GAS_RESERVED: Final = 1_000_000
"""More than any single transaction of a user, provider or owner uses, twice: fees can double before it is mined."""


@dataclass(frozen=True)
class Check:
    """One check. `passed` is None if it does not apply yet. `next_step` fixes a failed check; `by` says who runs it."""

    name: str
    passed: bool | None
    detail: str
    next_step: str | None = None
    by: Role | None = None


def first_failure(checks: Iterable[Check]) -> Check | None:
    """The first failed check, which decides what to do next."""
    return next((check for check in checks if check.passed is False), None)


async def shortage(network: AsyncNetwork, address: str, value: int = 0) -> int:
    """How many wei the wallet lacks for a transaction that sends `value`."""
    gas = GAS_RESERVED * from_quantity(await network.chain.rpc("eth_gasPrice"))
    return max(value + gas - await network.chain.balance(address), 0)


async def step(network: AsyncNetwork, address: str, command: str, value: int = 0) -> str:
    """The command, or how this wallet gets the coins that the command needs first."""
    missing = await shortage(network, address, value)
    return get_coins(network.chain.chain_id, address, missing) if missing else command


async def coins(network: AsyncNetwork, address: str, role: Role, value: int = 0, *, needed: bool = True) -> Check:
    """Check that the wallet can pay for its next transaction, which sends `value`, if any is `needed`."""
    balance = await network.chain.balance(address)
    missing = await shortage(network, address, value) if needed else 0
    wanted = f"; the next step needs {describe(value)} and gas" if value else "; the next step needs gas"
    return Check(
        "coins in the wallet",
        not missing,
        f"{address} has {rounded(balance)}" + (wanted if missing else ""),
        get_coins(network.chain.chain_id, address, missing),
        role,
    )
