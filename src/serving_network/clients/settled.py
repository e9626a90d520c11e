# SPDX-License-Identifier: Apache-2.0
"""Settlements with a provider that the chain accepted, read from events and calldata, sent by anybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from serving_network.addresses import several, to_checksum_address
from serving_network.chain.node import from_quantity
from serving_network.clients.read.settlement_calls import RESULT_EVENTS
from serving_network.clients.settlements import Disagreement, Outcome, SettlementWire, known_status, outcome_of
from serving_network.contracts.models import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.chain.contract import Contract
    from serving_network.chain.reading import AsyncReader
    from serving_network.chain.receipts import Receipt
    from serving_network.contracts.codec import DecodedEvent
    from serving_network.messages.typed_data import UserSettlement

USERS_PER_FILTER: Final = 100


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement of one user that the chain accepted.

    `settlement` is decoded from the transaction's calldata; None if the provider called through a contract, so that
    the calldata cannot be decoded.
    """

    user: str
    settlement: UserSettlement | None
    outcome: Outcome
    block_number: int
    block_hash: str
    transaction_hash: str


class SettledReader:
    """Reads settlements with the provider `provider` at the inference contract `contract`."""

    def __init__(self, node: AsyncReader, contract: Contract, provider: str) -> None:
        self._node = node
        self._contract = contract
        self._provider = provider
        self._wire = SettlementWire(contract, provider)

    async def of_users(self, users: Sequence[str], from_block: int, to_block: int | None = None) -> list[Settled]:
        """The accepted settlements of these users in these blocks, in the order of the chain."""
        wanted = set(several(users))
        return [
            one
            for receipt, sent in await self.transactions(users, from_block, to_block)
            for one in await self.accepted(receipt, sent)
            if one.user in wanted
        ]

    async def transactions(
        self, users: Sequence[str], from_block: int, to_block: int | None = None
    ) -> list[tuple[Receipt, dict[str, Any]]]:
        """The transactions with results for these users, as receipt and transaction, in the order of the chain."""
        interface = self._contract.interface
        events = ["0x" + interface.topic(name).hex() for name in RESULT_EVENTS.values()]
        newest = await self._node.block_number() if to_block is None else to_block
        if from_block > newest:
            return []
        places: dict[str, tuple[int, int]] = {}
        for start in range(0, len(users), USERS_PER_FILTER):
            some = [topic_of(user) for user in users[start : start + USERS_PER_FILTER]]
            for log in await self._node.logs(
                [self._contract.address], topics=[events, some], from_block=from_block, to_block=newest
            ):
                place = from_quantity(log["blockNumber"]), from_quantity(log["logIndex"])
                places.setdefault(str(log["transactionHash"]), place)
        return [await self.mined(one) for one in sorted(places, key=places.__getitem__)]

    async def mined(self, transaction: str) -> tuple[Receipt, dict[str, Any]]:
        """A transaction whose events the node has shown, as receipt and transaction. Raises Disagreement."""
        receipt, sent = await self._node.receipt(transaction), await self._node.transaction(transaction)
        if receipt is None or sent is None:
            raise Disagreement(f"The node has events of transaction {transaction}, but not the transaction.")
        return receipt, sent

    async def accepted(self, receipt: Receipt, sent: dict[str, Any]) -> list[Settled]:
        """The settlements with this provider that a transaction got accepted.

        Settlements that came through a contract are among them, without what was signed.
        """
        events = self._wire.events(receipt)
        results = [event for event in events if event.name in RESULT_EVENTS.values()]
        direct = sent["to"] is not None and to_checksum_address(sent["to"]) == self._contract.address
        settlements: Sequence[UserSettlement | None]
        if direct and to_checksum_address(sent["from"]) == self._provider:
            signed = self._wire.decoded(sent["input"])
            if [row.user for row in signed] != [event.args["user"] for event in results]:
                raise Disagreement(f"The events of {receipt.transaction_hash} do not match its settlements.")
            outcomes = [outcome_of(event, row.total_fee) for event, row in zip(results, signed, strict=True)]
            settlements = signed
        elif not direct and await self._settled_through_a_contract(events, sent):
            outcomes = [Outcome(known_status(event.args["status"]), event.args.get("paid", 0)) for event in results]
            settlements = [None] * len(results)
        else:
            return []
        return [
            Settled(
                event.args["user"],
                settlement,
                outcome,
                receipt.block_number,
                receipt.block_hash,
                receipt.transaction_hash,
            )
            for event, settlement, outcome in zip(results, settlements, outcomes, strict=True)
            if Status(outcome.status).paid
        ]

    async def _settled_through_a_contract(self, events: Sequence[DecodedEvent], sent: dict[str, Any]) -> bool:
        """Whether a transaction that does not call the service itself made this provider's wallet settle.

        The result of a batch names the provider. Those of single settlements do not: anybody can have one transaction
        settle for another provider and change a balance with this one. They count only where the wallet has code, or
        was called itself, because a wallet without code does not settle through a contract.
        """
        ours = [event for event in events if event.args.get("provider") == self._provider]
        if any(event.name == "BatchSettled" for event in ours):
            return True
        called = sent["to"] is not None and to_checksum_address(sent["to"]) == self._provider
        return bool(ours) and (called or bool(await self._node.code(self._provider)))


def topic_of(address: str) -> str:
    """An address as an event's indexed argument."""
    return "0x" + bytes(12).hex() + address[2:].lower()
