# SPDX-License-Identifier: Apache-2.0
"""What must hold before a gateway takes money: each check refuses with the command that leads on.

Checks that only warn return the warnings.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from serving_network.chain.node import from_quantity
from serving_network.chains import LOCAL_CHAIN, how_to_get_coins
from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts.models import Offer
from serving_network.counting import count
from serving_network.errors import ServingError
from serving_network.gateway.settings import Settings, service_value
from serving_network.money import describe
from serving_network.store.location import Location
from serving_network.store.served import known_nonces

SKEW_WARNED: Final = 10
SKEW_REFUSED: Final = 120
OLD_BLOCK: Final = 600
SETTLEMENT_GAS: Final = 500_000
"""About what a transaction with ten settlements uses. A wallet that cannot pay for it settles nothing."""


class GatewayNotReady(ServingError):
    """The gateway cannot sell anything as it is set up."""

    exit_code = 9


async def check_chain(network: AsyncNetwork, settings: Settings, service: str, now: float) -> list[str]:
    """Check clock, lock time and the wallet's gas. Returns warnings. Raises GatewayNotReady and NodeFailure."""
    chain = network.chain
    warnings = []
    if chain.chain_id != LOCAL_CHAIN:  # the time of a local chain travels
        warnings += check_clock(await chain.timestamp(), now)
    check_lock_time(int((await network.settings(service))["lockTime"]), settings)
    gas_price = from_quantity(await chain.rpc("eth_gasPrice"))
    check_gas(await chain.balance(settings.provider), gas_price, settings.provider, chain.chain_id)
    return warnings


def check_offer(offer: Offer, wanted: Mapping[str, str | int], *, confirmed: bool) -> None:
    """Check that the service is registered as the settings say. Raises GatewayNotReady."""
    expected = replace(offer, **{name: service_value(name, value) for name, value in wanted.items()})  # type: ignore[arg-type]
    if expected == offer:
        return
    changes = {name: getattr(expected, name) for name in wanted if getattr(expected, name) != getattr(offer, name)}
    arguments = " ".join(
        f"--set {shlex.quote(f'{name}={value} wei' if name.endswith('_price') else f'{name}={value}')}"
        for name, value in changes.items()
    )
    lost = offer.critical_changes(expected) if confirmed else []
    raise GatewayNotReady(
        f"The service is not registered as the settings say: {', '.join(changes)}.",
        cause="; ".join(f"{name} is {getattr(offer, name)!r}, not {value!r}" for name, value in changes.items())
        + "."
        + (f" The owner must confirm the signer again after a change of {', '.join(lost)}." if lost else ""),
        next_step=f"Correct [service] in the settings, or update it: serving service update {arguments}",
    )


def check_clock(newest_block: int, now: float) -> list[str]:
    """Check this machine's clock against the newest block, both in unix seconds. Raises GatewayNotReady."""
    behind = newest_block - now
    if behind > SKEW_REFUSED:
        raise GatewayNotReady(
            f"This machine's clock is {count(int(behind), 'second')} behind the newest block.",
            cause="Session tokens would be refused or accepted at the wrong time.",
            next_step="Set the clock, for instance with chrony, and run again.",
        )
    if behind > SKEW_WARNED:
        return [f"This machine's clock is {count(int(behind), 'second')} behind the newest block."]
    if -behind > OLD_BLOCK:
        return [f"The newest block is {count(int(-behind), 'second')} old: the node is not in sync, or the clock is."]
    return []


def check_lock_time(lock_time: int, settings: Settings) -> None:
    """Check that no refund unlocks before what it covers is settled. Raises GatewayNotReady."""
    needed = settings.request_seconds + settings.settle_seconds
    if needed > lock_time / 2:
        raise GatewayNotReady(
            f"A requested refund unlocks after {count(lock_time, 'second')}, before its requests are safely settled.",
            cause=f"The longest request and the time between settlements take {count(needed, 'second')}, which must be"
            " at most half of it.",
            next_step="Lower request_seconds or settle_seconds in the settings.",
        )


def check_gas(balance: int, gas_price: int, provider: str, chain_id: int) -> None:
    """Check that the wallet can pay for a settlement. Raises GatewayNotReady."""
    if balance < SETTLEMENT_GAS * gas_price:
        raise GatewayNotReady(
            f"The wallet {provider} has {describe(balance)}, too little to settle.",
            cause=f"A settlement of ten users costs about {describe(SETTLEMENT_GAS * gas_price)} of gas.",
            next_step=how_to_get_coins(chain_id, provider),
        )


async def check_store(network: AsyncNetwork, provider: str, service: str, store: Location) -> None:
    """Check that the chain has no settlement that the store lacks, as after a restore. Raises GatewayNotReady."""
    known = known_nonces(store)
    accounts = await network.accounts_with(provider, list(known), service)
    behind = [user for user, account in accounts.items() if account.nonce > known[user]]
    if behind:
        raise GatewayNotReady(
            f"The store {store} lacks settlements of {count(len(behind), 'user')} that are on the chain.",
            cause=f"The first is {behind[0]}. The store was restored from a copy, or another program settled.",
            next_step="After a restore, run serving gateway adopt FILE... with the bills that users exported, then"
            f" serving settle, then serving settlement adopt, each with --key {provider} --journal {store}",
        )
