# SPDX-License-Identifier: Apache-2.0
"""getActiveServices, the paged variant"""

import pytest

from tests.unit.contract import Contract
from tests.unit.ledger.world import World, create_mock

HUGE = 2**256 - 1


@pytest.mark.parametrize(
    ("offset", "limit", "first", "count"),
    [
        (0, 0, 0, 50),
        (0, 50, 0, 50),
        (0, 51, 0, 50),
        (0, HUGE, 0, 50),
        (7, 3, 7, 3),
        (490, 0, 490, 10),
        (499, 1, 499, 1),
        (1, HUGE, 1, 50),
        (500, 1, 0, 0),
        (HUGE, HUGE, 0, 0),
    ],
)
def test_pages(crowd: World, offset: int, limit: int, first: int, count: int) -> None:
    found, total = crowd.ledger.ask("getActiveServices", offset, limit)
    assert total == 500
    assert [one["fullName"] for one in found] == [one.name for one in crowd.services[first : first + count]]


def test_fifty_of_the_longest_are_answered_within_a_nodes_limit(ledger: Contract, world: World, owner: str) -> None:
    template = world.evm.code(create_mock(world.evm, "Answers", 1, 0, 1, False, False, 0, sender=owner)[0])
    for number in range(50):
        address = world.evm.account(f"service {number}")
        world.evm.set_code(address, template)
        ledger.send("registerService", "t" * 64, f"{number:064}", address, "d" * 1024, sender=owner)
    found, total = ledger.ask("getActiveServices", 0, 50, gas=30_000_000)
    assert (len(found), total) == (50, 50)
    assert {one["description"] for one in found} == {"d" * 1024}
