# SPDX-License-Identifier: Apache-2.0
"""One contract on one chain: typed reads, complete listings, and calls that are ready to be sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serving_network.addresses import to_checksum_address
from serving_network.chain.node import CALLS_PER_BATCH
from serving_network.chain.pages import PAGES_AHEAD, Page, every_page
from serving_network.contracts import load
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.errors import ContractError, ServingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from eth_typing import ChecksumAddress

    from serving_network.chain.node import AsyncNode, Block

_BYTES_PER_BATCH = 5_000_000  # in hexadecimal digits, this is what nodes send in one answer


@dataclass(frozen=True)
class Call:
    """A state-changing call that is not sent yet. `value` is in wei; `effect` describes what the call does."""

    contract: str
    to: ChecksumAddress
    function: str
    arguments: dict[str, Any]
    data: bytes = field(repr=False)
    value: int
    effect: str


class Contract:
    """The contract at `address`, with the ABI of this project's artifact `name`."""

    def __init__(self, chain: AsyncNode, name: str, address: str) -> None:
        self.name = name
        self.address = to_checksum_address(address)
        self.interface = load(name).interface
        self._chain = chain

    async def read(self, function: str, *args: Any, sender: str | None = None, block: Block = "latest") -> Any:
        """The result of a view. Raises the ContractError that the view fails with."""
        data = self.interface.encode(function, *args)
        answer = await self._chain.call(self.address, data, sender=sender, block=block)
        return self.interface.decode_result(function, answer)

    async def read_many(
        self, calls: Sequence[tuple[str, tuple[Any, ...]]], *, sender: str | None = None, block: Block = "latest"
    ) -> list[Any]:
        """The results of several views, requested in one batch. Raises the first ContractError among them."""
        requested = [(self.address, self.interface.encode(function, *args)) for function, args in calls]
        results = []
        answers = await self._chain.call_many(requested, sender=sender, block=block)
        for (function, _), answer in zip(calls, answers, strict=True):
            if isinstance(answer, ContractError):
                raise answer
            results.append(self.interface.decode_result(function, answer))
        return results

    async def listing(self, function: str, *args: Any, block: int | None = None) -> list[Any]:
        """All entries of a paged view `function(*args, offset, limit)`, as of one block, by default the newest.

        Raises NodeFailure if the pages contradict each other.
        """
        return [entry async for page in self.pages(function, *args, block=block) for entry in page]

    async def pages(
        self, function: str, *args: Any, block: int | None = None, pages_ahead: int = PAGES_AHEAD
    ) -> AsyncIterator[list[Any]]:
        """As `listing`, page by page. At most `pages_ahead` pages are in memory."""
        at = await self._chain.block_number() if block is None else block

        largest = 1

        def request(offset: int, limit: int) -> tuple[str, bytes]:
            return self.address, self.interface.encode(function, *args, offset, limit)

        def decoded(answer: bytes) -> Page:
            page, total = self.interface.decode_result(function, answer)
            return page, total

        async def ask(offset: int, limit: int) -> Page:
            nonlocal largest
            answer = await self._chain.call(*request(offset, limit), block=at)
            largest = max(largest, len(answer))
            return decoded(answer)

        async def ask_together(offsets: list[int], limit: int) -> list[Page | ServingError]:
            requests = [request(offset, limit) for offset in offsets]
            at_once = max(1, min(CALLS_PER_BATCH, _BYTES_PER_BATCH // largest))
            answers = await self._chain.call_each(requests, block=at, at_once=at_once)
            return [decoded(one) if isinstance(one, bytes) else one for one in answers]

        async for page in every_page(function, ask, ask_together, pages_ahead):
            yield page

    async def has(self, function: str, *args: Any, sender: str | None = None) -> bool:
        """Whether the contract has `function`. This project's contracts have functions that the live network's lack."""
        try:
            await self.read(function, *args, sender=sender)
        except RevertedWithoutReason:
            return False
        except ContractError:
            return True
        return True

    def call(self, function: str, *args: Any, value: int = 0, effect: str) -> Call:
        """A call of `function`, ready to be sent."""
        data = self.interface.encode(function, *args)
        decoded = self.interface.decode_call(data)
        return Call(self.name, self.address, function, decoded.args if decoded else {}, data, value, effect)
