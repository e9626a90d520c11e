# SPDX-License-Identifier: Apache-2.0
"""Listings of a network with 10,000 accounts, at a node that answers after 100 ms: round trips, seconds and CPU time.

    python -m benchmarks.listings

The node is a stub in this process: it answers each request with pages that were encoded before. Its clock is real.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from eth_abi.abi import decode, encode

from benchmarks.figures import Figure, cpu_ms
from serving_network.chain.contract import Contract
from serving_network.chain.pages import PAGE
from serving_network.chain.reading import AsyncReader
from serving_network.chain.transport import RpcCall
from serving_network.clients.read.books import read_books
from serving_network.clients.read.network import AsyncNetwork
from serving_network.contracts import load

ENTRIES: Final = 10_000
LATENCY: Final = 0.1
_MOST_ROUND_TRIPS: Final = 4
_LEDGER, _SERVICE = "0x" + "11" * 20, "0x" + "22" * 20


class StubNode:
    """A transport to a network with one service. `round_trips` counts requests that were sent one after the other."""

    where = "a stub"

    def __init__(self) -> None:
        self.round_trips = 0
        self.latency = 0.0
        self._waiting = 0
        self._made: dict[bytes, str] = {}
        self.functions = {
            load(name).interface.encode(function, *given)[:4]: function
            for name, function, given in (
                ("LedgerManager", "getAllLedgers", (0, 50)),
                ("InferenceServing", "getAllAccounts", (0, 50)),
                ("InferenceServing", "getAllServices", (0, 50)),
            )
        }

    async def ask(self, calls: list[RpcCall]) -> list[Any]:
        self.round_trips += not self._waiting
        self._waiting += 1
        await asyncio.sleep(self.latency)
        self._waiting -= 1
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: list[Any]) -> Any:
        if method == "eth_call":
            return self.page(bytes.fromhex(params[0]["data"][2:]))
        return {"eth_getLogs": [], "eth_getCode": "0x01"}.get(method, "0x1")

    def page(self, data: bytes) -> str:
        if data not in self._made:
            function = self.functions[data[:4]]
            offset, limit = decode(["uint256", "uint256"], data[4:])
            numbers = range(offset, min(offset + limit, 0 if function == "getAllServices" else ENTRIES))
            self._made[data] = "0x" + _encoded(function, numbers).hex()
        return self._made[data]

    async def close(self) -> None:
        """Does nothing."""


_TYPES: Final = {
    "getAllLedgers": "(address,uint256,uint256,string)[]",
    "getAllAccounts": "(address,address,uint256,uint256,uint256,(uint256,uint256,uint256,bool)[],string,bool,uint256,"
    "uint256,uint256)[]",
    "getAllServices": "(address,string,string,uint256,uint256,uint256,string,string,string,address,bool)[]",
}


def _encoded(function: str, numbers: range) -> bytes:
    """A page of entries, one for each number."""
    entries: list[tuple[Any, ...]] = []
    for number in numbers:
        user = f"0x{number + 1:040x}"
        if function == "getAllLedgers":
            entries.append((user, 10**18, 2 * 10**18, ""))
        else:
            entries.append((user, _LEDGER, number, 10**18, 0, [], "", True, 0, 1, 0))
    total = 0 if function == "getAllServices" else ENTRIES
    return encode([_TYPES[function], "uint256"], [entries, total])


async def _read(what: str, node: StubNode) -> None:
    """List all accounts, or read the books, over a connection that is open."""
    chain = AsyncReader([node], 1, 1)
    await chain.block_number()
    node.round_trips = 0
    network = AsyncNetwork(chain, _LEDGER)
    service = Contract(chain, "InferenceServing", _SERVICE)
    if what == "accounts":
        found = len(await service.listing("getAllAccounts"))
    else:
        books = await read_books(chain, network.ledger_contract, {"inference": service})
        found = books.services[0].accounts
    if found != ENTRIES:
        raise AssertionError(f"{found} entries instead of {ENTRIES}")


def measure() -> list[Figure]:
    """All figures."""
    figures = []
    node = StubNode()
    for what, functions in (("accounts", ["getAllAccounts"]), ("books", ["getAllAccounts", "getAllLedgers"])):
        cpu = cpu_ms(lambda: asyncio.run(_read(what, node)))  # noqa: B023 - called at once
        node.latency = LATENCY
        started = time.perf_counter()
        asyncio.run(_read(what, node))
        seconds = time.perf_counter() - started
        node.latency = 0.0
        pages = [one for function in functions for one in _pages(node, function)]
        least = cpu_ms(lambda: [decode(types, bytes.fromhex(page[2:])) for types, page in pages])  # noqa: B023
        target = _MOST_ROUND_TRIPS if what == "accounts" else None
        figures += [
            Figure(f"{what}, round trips", node.round_trips, "requests", unit_target=target),
            Figure(f"{what}, at 100 ms", seconds, "s", "one request a page", LATENCY * len(pages)),
            Figure(f"{what}, CPU", cpu, "ms", "eth-abi decodes the pages", least),
        ]
    return figures


def _pages(node: StubNode, function: str) -> list[tuple[list[str], str]]:
    """The types and the text of every page of a listing."""
    (selector,) = [selector for selector, name in node.functions.items() if name == function]
    offsets = range(0, ENTRIES, PAGE)
    questions = [selector + encode(["uint256", "uint256"], [offset, PAGE]) for offset in offsets]
    return [([_TYPES[function], "uint256"], node.page(question)) for question in questions]
