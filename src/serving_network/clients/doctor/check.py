# SPDX-License-Identifier: Apache-2.0
"""One check, and how a wallet that cannot pay for the next step gets coins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from serving_network.chain.node import from_quantity
from serving_network.chains import LOCAL_CHAIN, how_to_get_coins
from serving_network.money import WEI_PER_COIN, describe, rounded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from serving_network.clients.read.network import AsyncNetwork

Role = Literal["user", "provider", "owner"]

GAS_RESERVED: Final = 1_000_000
"""More than any single transaction of a user, provider or owner uses, twice: fees can double before it is mined."""
GIVEN_LOCALLY: Final = 100 * WEI_PER_COIN
"""What `serving local fund` gives by default."""


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


def get_coins(network: AsyncNetwork, address: str, missing: int) -> str:
    """The next step for a wallet that lacks `missing` wei, which is rounded up to whole coins."""
    chain = network.chain.chain_id
    if chain == LOCAL_CHAIN and missing <= GIVEN_LOCALLY:
        return how_to_get_coins(chain, address)
    return how_to_get_coins(chain, address, describe(-(-missing // WEI_PER_COIN) * WEI_PER_COIN))


async def step(network: AsyncNetwork, address: str, command: str, value: int = 0) -> str:
    """The command, or how this wallet gets the coins that the command needs first."""
    missing = await shortage(network, address, value)
    return get_coins(network, address, missing) if missing else command


async def coins(network: AsyncNetwork, address: str, role: Role, value: int = 0, *, needed: bool = True) -> Check:
    """Check that the wallet can pay for its next transaction, which sends `value`, if any is `needed`."""
    balance = await network.chain.balance(address)
    missing = await shortage(network, address, value) if needed else 0
    wanted = f"; the next step needs {describe(value)} and gas" if value else "; the next step needs gas"
    return Check(
        "coins in the wallet",
        not missing,
        f"{address} has {rounded(balance)}" + (wanted if missing else ""),
        get_coins(network, address, missing),
        role,
    )
