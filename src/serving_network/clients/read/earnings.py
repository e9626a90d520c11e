# SPDX-License-Identifier: Apache-2.0
"""The payments to a provider, read from the chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving_network.addresses import to_checksum_address
from serving_network.chain.node import from_hex
from serving_network.contracts.models import FINE_TUNING, INFERENCE, Status
from serving_network.errors import NodeFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.clients.read.events import Event
    from serving_network.clients.read.network import AsyncNetwork, Service


@dataclass(frozen=True)
class Earning:
    """One payment to a provider. `paid` is in wei; `reason` is the settlement's status, "in full" or "penalty"."""

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
    """Every payment of a service to a provider in these blocks, in order.

    Settlements that another contract sent to the service are not included.
    """
    found = await network.service(service)
    events_of_all = await network.past_events(from_block=from_block, to_block=to_block)
    events = [event for event in events_of_all if event.address == found.address]
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
    """An entry was paid its fee in the calldata minus the event's unsettled amount; a batch's event has the amount."""
    mined = await network.chain.transaction(results[0].transaction_hash)
    if mined is None:
        raise NodeFailure(f"The node has events of {results[0].transaction_hash}, but not the transaction.")
    sent_to = mined["to"] and to_checksum_address(mined["to"])
    if to_checksum_address(mined["from"]) != provider or sent_to != service.address:
        return []
    call = service.contract.interface.decode_call(from_hex(mined["input"]))
    lists = [] if call is None else [value for value in call.args.values() if isinstance(value, list)]
    rows: list[Any] = lists[0] if lists else []
    if len(rows) != len(results) or any(one.args["status"] not in list(Status) for one in results):
        raise NodeFailure(f"The node's events of {results[0].transaction_hash} do not match its settlements.")
    earnings = []
    for row, result in zip(rows, results, strict=True):
        paid = result.args["paid"] if "paid" in result.args else row["totalFee"] - result.args["unsettledAmount"]
        if paid:
            reason = Status(result.args["status"]).name.lower().replace("_", " ")
            earnings.append(
                Earning(service.name, result.args["user"], paid, result.block_number, result.transaction_hash, reason)
            )
    return earnings
