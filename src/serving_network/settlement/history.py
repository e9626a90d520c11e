# SPDX-License-Identifier: Apache-2.0
"""What the chain accepted in the past: settlements with this provider, sent by anybody."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from serving_network.chain.contract import Contract
from serving_network.chain.node import from_quantity
from serving_network.chain.reading import AsyncReader
from serving_network.chain.receipts import Receipt
from serving_network.clients.read.network import AsyncNetwork
from serving_network.clients.read.settlement_calls import Form
from serving_network.clients.settled import Settled, SettledReader, topic_of
from serving_network.clients.settlements import SettlementWire, SignedSettlements
from serving_network.errors import RpcError
from serving_network.settlement.chain import Landed, PastSettlement
from serving_network.settlement.journal.records import Acceptance, Mined


class History:
    """Reads past settlements of the provider `provider` at the inference contract `contract`."""

    def __init__(self, network: AsyncNetwork, contract: Contract, provider: str) -> None:
        self._network = network
        self._node: AsyncReader = network.chain
        self._contract = contract
        self._provider = provider
        self._wire = SettlementWire(contract, provider)
        self._settled = SettledReader(network.chain, contract, provider)

    async def search(self, signed: SignedSettlements, from_block: int) -> list[Landed]:
        data = "0x" + self._wire.calldata(signed).hex()
        return [
            self.read(receipt, signed)
            for receipt, sent in await self._settled.transactions([signed.settlements[0].user], from_block)
            if str(sent["input"]).lower() == data
        ]

    async def past_settlements(self, users: Sequence[str], from_block: int) -> list[PastSettlement]:
        return [_past(one) for one in await self._settled.of_users(users, from_block)]

    async def paid_since(self, block_number: int, form: Form, known: Container[str]) -> list[PastSettlement]:
        interface, newest = self._contract.interface, await self._node.block_number()
        if block_number >= newest:
            return []  # nodes reject a range that starts after the newest block
        provider = topic_of(self._provider)
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
            past += [_past(one) for one in await self._settled.accepted(*await self._settled.mined(transaction))]
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

    def read(self, receipt: Receipt, signed: SignedSettlements) -> Landed:
        """The result of a mined transaction that carried these settlements. Raises Disagreement."""
        outcomes = self._wire.results(receipt, signed) if receipt.succeeded else ()
        return Landed(receipt.succeeded, mined_in(receipt), outcomes, receipt.transaction_hash)


def _past(one: Settled) -> PastSettlement:
    return PastSettlement(
        one.user, one.settlement, Acceptance(one.outcome, one.block_number, one.block_hash, one.transaction_hash)
    )


def mined_in(receipt: Receipt) -> Mined:
    """Where a transaction was mined, and what it cost."""
    return Mined(receipt.block_number, receipt.block_hash, receipt.gas_used, receipt.cost)
