# SPDX-License-Identifier: Apache-2.0
"""The providers that are registered with a service contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving_network.contracts.reverts import RevertedWithoutReason

if TYPE_CHECKING:
    from serving_network.chain.contract import Contract


async def registered_providers(contract: Contract, *, block: int | None = None) -> list[dict[str, Any]]:
    """Every provider as the service's listing shows it, as of one block, by default the newest."""
    if contract.name != "FineTuningServing":
        return await contract.listing("getAllServices", block=block)
    try:
        return await contract.listing("getServices", block=block)
    except RevertedWithoutReason:  # the live network has only a listing without pages
        found: list[dict[str, Any]] = await contract.read("getAllServices", block="latest" if block is None else block)
        return found
