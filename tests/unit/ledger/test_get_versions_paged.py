# SPDX-License-Identifier: Apache-2.0
"""getVersionsPaged: what a page of all services has of one type"""

import pytest

from tests.unit.ledger.world import World

HUGE = 2**256 - 1


@pytest.mark.parametrize(
    ("offset", "limit", "last"),
    [(0, 0, 50), (0, HUGE, 50), (0, 51, 50), (10, 9, 19), (495, 0, 500), (500, 0, 500), (HUGE, HUGE, 500)],
)
def test_pages(crowd: World, offset: int, limit: int, last: int) -> None:
    crowd.ledger.send("setRecommendedService", "type1", "v4", sender=crowd.owner)
    numbers = [number for number in range(1, last, 3) if number >= offset]
    assert crowd.ledger.ask("getVersionsPaged", "type1", offset, limit) == (
        [f"v{number}" for number in numbers],
        [crowd.services[number].address for number in numbers],
        [number == 4 for number in numbers],
        500,
    )


def test_pages_together_are_all_versions(crowd: World) -> None:
    pages = [crowd.ledger.ask("getVersionsPaged", "type2", offset, 0) for offset in range(0, 500, 50)]
    together = tuple([one for page in pages for one in page[i]] for i in range(3))
    assert together == crowd.ledger.ask("getAllVersions", "type2")
