# SPDX-License-Identifier: Apache-2.0
"""isRecommendedVersion"""

from tests.unit.contract import Contract
from tests.unit.ledger.world import World


def test_only_the_recommended_one(ledger: Contract, world: World, owner: str) -> None:
    for name in ("others-v1", "others-v2", "more-v1"):
        world.service(name)
    pairs = [("others", "v1"), ("others", "v2"), ("more", "v1"), ("others", "v3"), ("unknown", "v1"), ("", "")]
    assert [ledger.ask("isRecommendedVersion", *pair) for pair in pairs] == [False] * 6
    ledger.send("setRecommendedService", "others", "v2", sender=owner)
    assert [ledger.ask("isRecommendedVersion", *pair) for pair in pairs] == [False, True, False, False, False, False]
