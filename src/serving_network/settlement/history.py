# SPDX-License-Identifier: Apache-2.0
"""What the chain accepted in the past: settlements with this provider, whoever sent them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Final

from eth_utils.address import to_checksum_address

from serving_network.chain.contract import Contract
from serving_network.chain.node import from_quantity
from serving_network.chain.reading import AsyncReader
from serving_network.chain.receipts import Receipt
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.settlements import (
    RESULT_EVENTS,
    Disagreement,
    Form,
    Outcome,
    SettlementWire,
    SignedSettlements,
    known_status,
    outcome_of,
)
from serving_network.contracts.codec import DecodedEvent
from serving_network.contracts.models import Status
from serving_network.errors import RpcError
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.chain import Landed, PastSettlement
from serving_network.settlement.journal.records import Acceptance, Mined

USERS_PER_FILTER: Final = 100


class History:
    """Reads past settlements of the provider `provider` at the inference contract `contract`."""

    def __init__(self, network: AsyncNetwork, contract: Contract, provider: str) -> None:
        self._network = network
        self._node: AsyncReader = network.chain
        self._contract = contract
        self._provider = provider
        self._wire = SettlementWire(contract, provider)

    async def search(self, signed: SignedSettlements, from_block: int) -> list[Landed]:
        data = "0x" + self._wire.calldata(signed).hex()
        return [
            self.read(receipt, signed)
            for receipt, sent in await self._settled([signed.settlements[0].user], from_block)
            if str(sent["input"]).lower() == data
        ]

    async def past_settlements(self, users: Sequence[str], from_block: int) -> list[PastSettlement]:
        wanted = set(users)
        return [
            one
            for receipt, sent in await self._settled(users, from_block)
            for one in await self._past(receipt, sent)
            if one.user in wanted
        ]

    async def _settled(self, users: Sequence[str], from_block: int) -> list[tuple[Receipt, dict[str, Any]]]:
        """The transactions since a block with results for these users, as receipt and transaction, in chain order."""
        interface = self._contract.interface
        events = ["0x" + interface.topic(name).hex() for name in RESULT_EVENTS.values()]
        newest = await self._node.block_number()
        if from_block > newest:
            return []
        places: dict[str, tuple[int, int]] = {}
        for start in range(0, len(users), USERS_PER_FILTER):
            some = [_topic(user) for user in users[start : start + USERS_PER_FILTER]]
            for log in await self._node.logs(
                [self._contract.address], topics=[events, some], from_block=from_block, to_block=newest
            ):
                place = from_quantity(log["blockNumber"]), from_quantity(log["logIndex"])
                places.setdefault(str(log["transactionHash"]), place)
        return [await self._mined_with_events(one) for one in sorted(places, key=places.__getitem__)]

    async def _mined_with_events(self, transaction: str) -> tuple[Receipt, dict[str, Any]]:
        """A transaction whose events the node has shown, as receipt and transaction."""
        receipt, sent = await self._node.receipt(transaction), await self._node.transaction(transaction)
        if receipt is None or sent is None:
            raise Disagreement(f"The node has events of transaction {transaction}, but not the transaction.")
        return receipt, sent

    async def paid_since(self, block_number: int, form: Form, known: Container[str]) -> list[PastSettlement]:
        interface, newest = self._contract.interface, await self._node.block_number()
        if block_number >= newest:
            return []  # nodes reject a range that starts after the newest block
        provider = _topic(self._provider)
        if form == "batch":
            topics: list[Any] = ["0x" + interface.topic("BatchSettled").hex(), provider]
        else:
            topics = ["0x" + interface.topic("BalanceUpdated").hex(), None, provider]
        logs = await self._node.logs(
            [self._contract.address], topics=topics, from_block=block_number + 1, to_block=newest
        )
        hashes = [one for one in dict.fromkeys(str(log["transactionHash"]) for log in logs) if one not in known]
        shown = await self._node.batch([("eth_getTransactionByHash", [one]) for one in hashes])
        ledger = self._network.ledger_contract.address.lower()
        past: list[PastSettlement] = []
        for transaction, sent in zip(hashes, shown, strict=True):
            if isinstance(sent, dict) and str(sent.get("to")).lower() == ledger:
                continue  # deposits and refunds also change balances
            past += await self._past(*await self._mined_with_events(transaction))
        return past

    async def calls_since(self, block_number: int) -> dict[int, str]:
        newest = await self._node.block_number()
        blocks = range(block_number, newest + 1)
        counts = await self._node.batch([("eth_getTransactionCount", [self._provider, hex(one)]) for one in blocks])
        calls: dict[int, str] = {}
        for before, after, number in zip(counts, counts[1:], blocks[1:], strict=False):
            if before == after and not isinstance(before, RpcError):
                continue
            block = await self._node.rpc("eth_getBlockByNumber", [hex(number), True])
            for sent in block["transactions"] if isinstance(block, dict) else ():
                ours = str(sent.get("from")).lower() == self._provider.lower()
                here = str(sent.get("to")).lower() == self._contract.address.lower()
                if ours and here and self._wire.decoded(str(sent.get("input"))):
                    calls[from_quantity(sent.get("nonce"))] = str(sent.get("hash"))
        return calls

    async def _past(self, receipt: Receipt, sent: dict[str, Any]) -> list[PastSettlement]:
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
            PastSettlement(
                event.args["user"],
                settlement,
                Acceptance(outcome, receipt.block_number, receipt.block_hash, receipt.transaction_hash),
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

    def read(self, receipt: Receipt, signed: SignedSettlements) -> Landed:
        """The result of a mined transaction that carried these settlements. Raises Disagreement."""
        outcomes = self._wire.results(receipt, signed) if receipt.succeeded else ()
        return Landed(receipt.succeeded, mined_in(receipt), outcomes, receipt.transaction_hash)


def _topic(address: str) -> str:
    """An address as an event's indexed argument."""
    return "0x" + bytes(12).hex() + address[2:].lower()


def mined_in(receipt: Receipt) -> Mined:
    """Where a transaction was mined, and what it cost."""
    return Mined(receipt.block_number, receipt.block_hash, receipt.gas_used, receipt.cost)
