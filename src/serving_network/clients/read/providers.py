# SPDX-License-Identifier: Apache-2.0
"""The providers that are registered with a service contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.chain.pages import PAGES_AHEAD
from serving_network.contracts.reverts import RevertedWithoutReason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serving_network.chain.contract import Contract


async def registered_providers(contract: Contract, *, block: int | None = None) -> list[dict[str, Any]]:
    """Every provider as the service's listing shows it, as of one block, by default the newest."""
    return [one async for page in registered_pages(contract, block=block) for one in page]


async def registered_pages(
    contract: Contract, *, block: int | None = None, pages_ahead: int = PAGES_AHEAD
) -> AsyncIterator[list[dict[str, Any]]]:
    """As `registered_providers`, page by page. At most `pages_ahead` pages are in memory."""
    listing = "getServices" if contract.name == "FineTuningServing" else "getAllServices"
    try:
        async for page in contract.pages(listing, block=block, pages_ahead=pages_ahead):
            yield page
    except RevertedWithoutReason:
        if listing != "getServices":
            raise
        # The live network has only a listing without pages.
        yield await contract.read("getAllServices", block="latest" if block is None else block)
