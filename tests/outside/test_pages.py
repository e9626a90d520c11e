# SPDX-License-Identifier: Apache-2.0
"""A listing is complete or an error: pages that need more gas than a node allows are halved."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from serving_network.chain.connection import AsyncConnection
from serving_network.chain.contract import Contract
from serving_network.chain.pages import PAGE, Ask, AskTogether, Page, every_page
from serving_network.contracts.errors import CallFailed, LimitTooLarge
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.errors import NodeFailure, NodeUnreachable, RpcError, ServingError

ENTRIES = list(range(137))


async def every_entry(function: str, ask: Ask, ask_together: AskTogether | None = None) -> list[Any]:
    return [entry async for page in every_page(function, ask, ask_together) for entry in page]


@pytest.mark.parametrize("most", [1, 7, 12, 49, 50])
@pytest.mark.parametrize(
    "refusal",
    [RpcError(-32000, "out of gas"), RevertedWithoutReason(), CallFailed(), LimitTooLarge(limit=50)],
    ids=lambda refusal: type(refusal).__name__,
)
def test_a_page_that_is_too_large_is_halved(most: int, refusal: ServingError) -> None:
    asked = []

    async def ask(offset: int, limit: int) -> tuple[list[int], int]:
        asked.append(limit)
        if limit > most:
            raise refusal
        return ENTRIES[offset : offset + limit], len(ENTRIES)

    assert asyncio.run(every_entry("getAllLedgers", ask)) == ENTRIES
    assert asked[0] == PAGE
    assert asked == sorted(asked, reverse=True)


def test_a_failure_for_a_single_entry_is_raised() -> None:
    async def ask(_offset: int, _limit: int) -> tuple[list[int], int]:
        raise CallFailed

    with pytest.raises(CallFailed):
        asyncio.run(every_entry("getAllLedgers", ask))


def test_other_failures_are_not_retried() -> None:
    asked = []

    async def ask(_offset: int, limit: int) -> tuple[list[int], int]:
        asked.append(limit)
        raise NodeFailure("The node is gone.")

    with pytest.raises(NodeFailure, match="gone"):
        asyncio.run(every_entry("getAllLedgers", ask))
    assert asked == [PAGE]


# --------------------------------------------------------------------------------------------- pages together


class Listing:
    """A view with so many entries. A page that `refuses` is refused, and one that `shortens` ends too early."""

    def __init__(
        self,
        total: int,
        refuses: Callable[[int, int], bool] | None = None,
        shortens: Callable[[int], int] | None = None,
    ) -> None:
        self.entries = list(range(total))
        self.requests: list[int] = []
        self._refuses = refuses or (lambda _offset, _limit: False)
        self._shortens = shortens or (lambda _offset: PAGE)

    def page(self, offset: int, limit: int) -> Page | ServingError:
        if self._refuses(offset, limit):
            return RevertedWithoutReason()
        return self.entries[offset : offset + min(limit, self._shortens(offset))], len(self.entries)

    async def ask(self, offset: int, limit: int) -> Page:
        self.requests.append(1)
        page = self.page(offset, limit)
        if isinstance(page, ServingError):
            raise page
        return page

    async def ask_together(self, offsets: list[int], limit: int) -> list[Page | ServingError]:
        self.requests.append(len(offsets))
        return [self.page(offset, limit) for offset in offsets]

    def read(self) -> list[Any]:
        return asyncio.run(every_entry("getAllLedgers", self.ask, self.ask_together))


def test_the_other_pages_are_requested_together() -> None:
    listing = Listing(10_000)
    assert listing.read() == listing.entries
    assert listing.requests == [1, 199]


def test_a_listing_of_one_page_is_one_request() -> None:
    listing = Listing(PAGE)
    assert listing.read() == listing.entries
    assert listing.requests == [1]


def test_only_a_page_that_is_too_large_is_halved() -> None:
    listing = Listing(10_000, refuses=lambda offset, limit: offset == 5000 and limit > 25)
    assert listing.read() == listing.entries
    assert listing.requests == [1, 199, 1, 1, 1]


@given(
    total=st.integers(0, 700),
    heavy=st.sets(st.integers(0, 699), max_size=4),
    short=st.dictionaries(st.integers(0, 699), st.integers(1, 49), max_size=4),
)
def test_every_listing_is_complete(total: int, heavy: set[int], short: dict[int, int]) -> None:
    """Pages with a heavy entry fail if they have more than three entries; some pages end before what was asked for."""
    listing = Listing(
        total,
        refuses=lambda offset, limit: limit > 3 and any(offset <= one < offset + limit for one in heavy),
        shortens=lambda offset: short.get(offset, PAGE),
    )
    assert listing.read() == listing.entries


@pytest.mark.parametrize("failure", [NodeUnreachable("Too large."), RpcError(-32000, "batch too large")])
def test_a_node_that_answers_no_large_batch_is_asked_page_by_page(failure: ServingError) -> None:
    listing = Listing(400)

    async def fails(_offsets: list[int], _limit: int) -> list[Page | ServingError]:
        raise failure

    assert asyncio.run(every_entry("getAllLedgers", listing.ask, fails)) == listing.entries
    assert len(listing.requests) == 8


def test_pages_that_contradict_each_other_are_refused_together_too() -> None:
    listing = Listing(400)

    async def grows(offsets: list[int], limit: int) -> list[Page | ServingError]:
        return [(listing.entries[offset : offset + limit], 401) for offset in offsets]

    with pytest.raises(NodeFailure, match="contradict"):
        asyncio.run(every_entry("getAllLedgers", listing.ask, grows))


class LedgerChain:
    """A chain with one contract, whose getAllLedgers has many large ledgers; `requests` are the sizes of batches."""

    where = "a test"

    def __init__(self, ledgers: int, bytes_of_info: int) -> None:
        self.requests: list[int] = []
        self._ledgers = [(f"0x{number:040x}", number, number, "x" * bytes_of_info) for number in range(1, ledgers + 1)]

    async def ask(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        self.requests.append(len(calls))
        return [self._answer(method, params) for method, params in calls]

    def _answer(self, method: str, params: list[Any]) -> Any:
        if method != "eth_call":
            return "0x7a69"
        offset, limit = decode(["uint256", "uint256"], bytes.fromhex(params[0]["data"][10:]))
        page = self._ledgers[offset : offset + limit]
        return "0x" + encode(["(address,uint256,uint256,string)[]", "uint256"], [page, len(self._ledgers)]).hex()

    async def close(self) -> None: ...


@pytest.mark.parametrize(("info", "batches"), [(10, [100, 99]), (5_000, [19] * 10 + [9])])
def test_a_batch_is_no_larger_than_what_a_node_sends(info: int, batches: list[int]) -> None:
    """10,000 ledgers take four round trips: the block, the first page and two batches; long entries take more."""
    chain = LedgerChain(10_000, info)

    async def read() -> list[Any]:
        connection = AsyncConnection([chain], 31337, 1)
        return await Contract(connection, "LedgerManager", "0x" + "11" * 20).listing("getAllLedgers")

    found = asyncio.run(read())
    assert [one["availableBalance"] for one in found] == list(range(1, 10_001))
    assert chain.requests[:1] == [1]  # the chain id, once for each connection
    assert chain.requests[1:] == [1, 1, *batches]
