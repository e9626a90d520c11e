# SPDX-License-Identifier: Apache-2.0
"""A listing is complete or an error: pages that need more gas than a node allows are halved."""

import asyncio

import pytest

from serving_network.chain.pages import PAGE, every_entry
from serving_network.contracts.errors import CallFailed, LimitTooLarge
from serving_network.contracts.reverts import RevertedWithoutReason
from serving_network.errors import NodeFailure, RpcError, ServingError

ENTRIES = list(range(137))


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
