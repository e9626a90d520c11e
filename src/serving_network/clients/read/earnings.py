# SPDX-License-Identifier: Apache-2.0
"""What a provider was paid, read from the chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils import to_checksum_address

from serving_network.chain.node import from_hex
from serving_network.contracts.models import FINE_TUNING, INFERENCE, Status
from serving_network.errors import NodeFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.clients.read.events import Event
    from serving_network.clients.read.network import AsyncNetwork, Service


@dataclass(frozen=True)
class Earning:
    """One payment to a provider, `paid` in wei. `reason` is the settlement's status, "in full" or "penalty"."""

    service: str
    user: str
    paid: int
    block_number: int
    transaction_hash: str
    reason: str


async def earnings_of(
    network: AsyncNetwork,
    provider: str,
    service: str = INFERENCE,
    *,
    from_block: int = 0,
    to_block: int | None = None,
) -> list[Earning]:
    """Every payment of a service to a provider in these blocks, in their order.

    Settlements that came through another contract than the service itself are not seen.
    """
    found = await network.service(service)
    told = await network.past_events(from_block=from_block, to_block=to_block)
    events = [event for event in told if event.address == found.address]
    if found.kind == FINE_TUNING:
        return [
            Earning(
                found.name,
                one.args["user"],
                one.args["fee"],
                one.block_number,
                one.transaction_hash,
                "in full" if one.args["acknowledged"] else "penalty",
            )
            for one in events
            if one.name == "FeesSettled" and one.args["provider"] == provider
        ]
    by_transaction: dict[str, list[Event]] = {}
    for event in events:
        if event.name in ("TEESettlementResult", "BatchRowSettled"):
            by_transaction.setdefault(event.transaction_hash, []).append(event)
    earnings: list[Earning] = []
    for results in by_transaction.values():
        earnings += await _of_settlement(network, found, provider, results)
    return earnings


async def _of_settlement(
    network: AsyncNetwork, service: Service, provider: str, results: Sequence[Event]
) -> list[Earning]:
    """An entry's pay is its fee in the calldata less what its event calls unsettled; a batch's row tells it."""
    mined = await network.chain.transaction(results[0].transaction_hash)
    if mined is None:
        raise NodeFailure(f"The node tells of events of {results[0].transaction_hash}, and does not know it.")
    sent_to = mined["to"] and to_checksum_address(mined["to"])
    if to_checksum_address(mined["from"]) != provider or sent_to != service.address:
        return []
    call = service.contract.interface.decode_call(from_hex(mined["input"]))
    lists = [] if call is None else [value for value in call.args.values() if isinstance(value, list)]
    rows: list[Any] = lists[0] if lists else []
    if len(rows) != len(results) or any(one.args["status"] not in list(Status) for one in results):
        raise NodeFailure(f"The node's events of {results[0].transaction_hash} do not fit its settlements.")
    earnings = []
    for row, result in zip(rows, results, strict=True):
        paid = result.args["paid"] if "paid" in result.args else row["totalFee"] - result.args["unsettledAmount"]
        if paid:
            reason = Status(result.args["status"]).name.lower().replace("_", " ")
            earnings.append(
                Earning(service.name, result.args["user"], paid, result.block_number, result.transaction_hash, reason)
            )
    return earnings
