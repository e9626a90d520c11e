# SPDX-License-Identifier: Apache-2.0
"""What is read of the chain's past, from a node that answers by a script."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from serving_network.chain.receipts import Receipt
from serving_network.clients.settled import topic_of
from serving_network.clients.settlements import SignedSettlements
from serving_network.contracts import load
from serving_network.errors import RpcError
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.chain import Landed
from serving_network.settlement.history import History
from serving_network.settlement.journal.records import Mined
from tests.settlement.stage import PROVIDER, USERS, dev_signer

CONTRACT, LEDGER, RIVAL = (dev_signer(number).address for number in (3, 4, 5))
SIGNED = SignedSettlements("entries", (UserSettlement(USERS[0].address, 5, 7, bytes(32)),), (bytes(65),))
NEWEST = 10
REFUSED = RpcError(-32000, "the node is busy")


@dataclass
class Node:
    """A node with so many blocks, and what it was asked."""

    counts: list[Any] = field(default_factory=list)
    blocks: dict[int, Any] = field(default_factory=dict)
    hashes: list[str] = field(default_factory=list)
    transactions: dict[str, Any] = field(default_factory=dict)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)

    async def block_number(self) -> int:
        return NEWEST

    async def logs(
        self, addresses: list[str], *, topics: list[Any], from_block: int, to_block: int
    ) -> list[dict[str, str]]:
        assert (addresses, topics[1:]) == ([CONTRACT], [None, topic_of(PROVIDER.address)])
        self.ranges.append((from_block, to_block))
        return [{"transactionHash": one} for one in self.hashes]

    async def batch(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        methods = {method for method, _ in calls}
        if methods == {"eth_getTransactionCount"}:
            assert [params for _, params in calls] == [
                [PROVIDER.address, hex(block)] for block in range(NEWEST + 1 - len(calls), NEWEST + 1)
            ]
            return self.counts
        assert methods <= {"eth_getTransactionByHash"}
        return [self.transactions[one] for _, (one,) in calls]

    async def rpc(self, method: str, params: Sequence[Any]) -> Any:
        assert (method, params[1]) == ("eth_getBlockByNumber", True)
        self.shown.append(int(params[0], 16))
        return self.blocks.get(int(params[0], 16))

    async def mined(self, transaction: str) -> tuple[str]:
        self.receipts.append(transaction)
        return (transaction,)

    async def accepted(self, *_: Any) -> list[Any]:
        return []


def history(node: Node) -> History:
    network = SimpleNamespace(chain=node, ledger_contract=SimpleNamespace(address=LEDGER))
    contract = SimpleNamespace(address=CONTRACT, interface=load("InferenceServing").interface)
    made = History(cast("Any", network), cast("Any", contract), PROVIDER.address)
    made._settled = cast("Any", node)
    return made


def receipt(*, succeeded: bool) -> Receipt:
    return Receipt("0xaa", succeeded, 3, "0xb3", 100, 7, None, [])


@pytest.mark.parametrize("since", [NEWEST, NEWEST + 1])
def test_no_events_are_asked_for_after_the_newest_block(since: int) -> None:
    node = Node()
    assert asyncio.run(history(node).paid_since(since, "entries", ())) == []
    assert node.ranges == []
    assert asyncio.run(history(node).paid_since(NEWEST - 1, "entries", ())) == []
    assert node.ranges == [(NEWEST, NEWEST)]


def test_receipts_are_read_of_all_but_known_transactions_and_those_to_the_ledger() -> None:
    """A balance also changes by a deposit, and a node may not show a transaction."""
    shown = {
        "0x1": {"to": LEDGER.lower()}, "0x2": {"to": CONTRACT.lower()}, "0x3": REFUSED, "0x4": None,
        "0x5": {"to": LEDGER}, "0x6": {"to": None},
    }  # fmt: skip
    node = Node(hashes=[*shown, "0x2", "0x7"], transactions=shown)
    asyncio.run(history(node).paid_since(0, "entries", {"0x7"}))
    assert node.receipts == ["0x2", "0x3", "0x4", "0x6"]


def call(sender: str, nonce: int, *, to: str = CONTRACT, data: str | None = None) -> dict[str, str]:
    data = "0x" + history(Node())._wire.calldata(SIGNED).hex() if data is None else data
    return {"from": sender, "to": to, "nonce": hex(nonce), "input": data, "hash": f"0x{sender[2:4]}{nonce}"}


def test_only_blocks_in_which_the_wallet_sent_something_are_read() -> None:
    """A block is read, too, if the node does not say what the wallet had sent by then, or does not show it."""
    ours = PROVIDER.address
    blocks = {
        7: {
            "transactions": [call(RIVAL, 5), call(ours.lower(), 0), call(ours, 1, to=LEDGER), call(ours, 2, data="0x")]
        },
        9: {"transactions": [call(ours, 3, to=CONTRACT.lower())]},
    }
    node = Node(counts=["0x0", "0x3", "0x3", REFUSED, REFUSED], blocks=blocks)
    calls = asyncio.run(history(node).calls_since(NEWEST - 4))
    assert calls == {0: f"0x{ours[2:4].lower()}0", 3: f"0x{ours[2:4]}3"}
    assert node.shown == [7, 9, 10]


def test_a_search_compares_the_calldata_whatever_its_case() -> None:
    data = history(Node())._wire.calldata(SIGNED).hex()

    async def transactions(users: list[str], from_block: int) -> list[tuple[Receipt, dict[str, str]]]:
        assert (users, from_block) == ([USERS[0].address], 2)
        return [(receipt(succeeded=False), {"input": one}) for one in ("0x" + data.upper(), "0x" + data, "0x00")]

    made = history(Node())
    made._settled = cast("Any", SimpleNamespace(transactions=transactions))
    assert asyncio.run(made.search(SIGNED, 2)) == [Landed(False, Mined(3, "0xb3", 100, 700), (), "0xaa")] * 2
