# SPDX-License-Identifier: Apache-2.0
"""What the chain says about a bill: accepted settlements, registered prices and confirmed signers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from serving_network.chain.node import from_hex, from_quantity
from serving_network.chains import LOCAL_CHAIN
from serving_network.clients.settled import Settled, SettledReader, topic_of
from serving_network.contracts.models import INFERENCE
from serving_network.errors import NodeFailure, UnknownName
from serving_network.messages.prices import cached_divisor

if TYPE_CHECKING:
    from serving_network.chain.contract import Contract
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.store.bills import BillIdentity

TOLERANCE: Final = 120
"""Seconds by which the clocks of a provider and of the chain may differ."""
LONGEST_REQUEST: Final = 900
"""Seconds for which a request can keep the prices and the signer with which it began."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time on the chain, in seconds since 1970. `until` is None for what is still so."""

    since: int
    until: int | None

    def contains(self, time: int) -> bool:
        """Whether a request that ended at `time` can have begun in this period."""
        ended = self.until is not None and time > self.until + LONGEST_REQUEST + TOLERANCE
        return self.since - TOLERANCE <= time and not ended


@dataclass(frozen=True, slots=True)
class RegisteredPrices:
    """Prices in wei per unit. `cached_divisor` is None if the registration came through a contract."""

    period: Period
    input_price: int
    output_price: int
    cached_divisor: int | None


@dataclass(frozen=True, slots=True)
class ConfirmedSigner:
    """A TEE signer that the owner had confirmed."""

    period: Period
    signer: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the chain says up to block `block`.

    On a local chain, whose time can be changed, `timed` is False: prices and signers then count at any time.
    """

    block: int
    timed: bool
    settled: tuple[Settled, ...]
    prices: tuple[RegisteredPrices, ...]
    signers: tuple[ConfirmedSigner, ...]

    def in_force(self, period: Period, time: int) -> bool:
        """Whether a receipt of this time can go by what was registered in a period."""
        return not self.timed or period.contains(time)


async def read_evidence(network: AsyncNetwork, identity: BillIdentity) -> Evidence:
    """Read the chain up to its newest block. Raises UnknownName if the bill's contract is no inference service."""
    contract = await _contract(network, identity.contract)
    block = await network.chain.block_number()
    settled = await SettledReader(network.chain, contract, identity.provider).of_users([identity.user], 0, block)
    prices, signers = await _registrations(network, contract, identity.provider, block)
    return Evidence(block, identity.chain_id != LOCAL_CHAIN, tuple(settled), prices, signers)


async def _contract(network: AsyncNetwork, address: str) -> Contract:
    """The inference service at this address: a bill can name any contract, but only a registered one pays."""
    for service in await network.services():
        if service.address == address and service.kind == INFERENCE:
            return service.contract
    raise UnknownName(
        f"The network has no inference service at {address}.",
        next_step="Choose the network of the bill with --network.",
    )


async def _registrations(
    network: AsyncNetwork, contract: Contract, provider: str, block: int
) -> tuple[tuple[RegisteredPrices, ...], tuple[ConfirmedSigner, ...]]:
    interface = contract.interface
    names = ("ServiceUpdated", "ServiceRemoved", "ProviderTEESignerAcknowledged")
    topics = ["0x" + interface.topic(name).hex() for name in names]
    logs = await network.chain.logs(
        [contract.address], topics=[topics, topic_of(provider)], from_block=0, to_block=block
    )
    prices: list[tuple[int, Any]] = []
    signers: list[tuple[int, Any]] = []
    for log in logs:
        event = interface.decode_log(log)
        if event is None:
            raise NodeFailure("The node sent an event that cannot be decoded.")
        header = await network.chain.block(from_quantity(log["blockNumber"]))
        time = from_quantity(header["timestamp"])
        if event.name == "ServiceUpdated":
            divisor = await _divisor(network, contract, str(log["transactionHash"]), provider)
            prices.append((time, (event.args["inputPrice"], event.args["outputPrice"], divisor)))
        elif event.name == "ServiceRemoved":
            prices.append((time, None))
            signers.append((time, None))
        else:
            signers.append((time, event.args["teeSignerAddress"] if event.args["acknowledged"] else None))
    return (
        tuple(RegisteredPrices(period, *value) for period, value in _periods(prices)),
        tuple(ConfirmedSigner(period, value) for period, value in _periods(signers)),
    )


async def _divisor(network: AsyncNetwork, contract: Contract, transaction: str, provider: str) -> int | None:
    """The divisor for cached input in a registration, which its event lacks; None if the calldata does not show it."""
    sent = await network.chain.transaction(transaction)
    if sent is None:
        raise NodeFailure(f"The node has events of transaction {transaction}, but not the transaction.")
    same = (str(sent["to"]).lower(), str(sent["from"]).lower()) == (contract.address.lower(), provider.lower())
    call = contract.interface.decode_call(from_hex(sent["input"])) if same else None
    return None if call is None else cached_divisor(next(iter(call.args.values()))["additionalInfo"])


def _periods(changes: list[tuple[int, Any]]) -> list[tuple[Period, Any]]:
    """The values with the period of each: from its change to the next one. None stands for no value."""
    ends = [time for time, _ in changes[1:]] + [None]
    return [
        (Period(since, until), value) for (since, value), until in zip(changes, ends, strict=True) if value is not None
    ]
