# SPDX-License-Identifier: Apache-2.0
"""getRecommendedService"""

import pytest

from tests.unit.contract import Contract, error
from tests.unit.ledger.world import World


def test_version_and_address(ledger: Contract, world: World, owner: str) -> None:
    first, second = world.service("others-v1"), world.service("others-v2")
    for version, service in (("v2", second), ("v1", first)):
        ledger.send("setRecommendedService", "others", version, sender=owner)
        assert ledger.ask("getRecommendedService", "others") == (version, service.address)


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("kind", ["others", "unknown", "", "x" * 96])
def test_an_error_where_none_is_recommended(ledger: Contract, stranger: str, kind: str) -> None:
    assert ledger.refused("getRecommendedService", kind, sender=stranger) == error(
        "NoRecommendedService", serviceType=kind
    )
