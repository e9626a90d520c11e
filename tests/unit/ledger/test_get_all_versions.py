# SPDX-License-Identifier: Apache-2.0
"""getAllVersions"""

from tests.unit.contract import Contract
from tests.unit.ledger.world import World


def test_every_version_of_a_type_oldest_first(ledger: Contract, world: World, owner: str) -> None:
    made = {name: world.service(name).address for name in ("others-v2", "more-v1", "others-v1", "others-more-v1")}
    ledger.send("setRecommendedService", "others", "v1", sender=owner)
    assert ledger.ask("getAllVersions", "others") == (
        ["v2", "v1"],
        [made["others-v2"], made["others-v1"]],
        [False, True],
    )
    assert ledger.ask("getAllVersions", "others-more") == (["v1"], [made["others-more-v1"]], [False])


def test_none_of_an_unknown_type(ledger: Contract) -> None:
    assert ledger.ask("getAllVersions", "unknown") == ([], [], [])


def test_is_answered_within_a_nodes_limit(crowd: World) -> None:
    versions, addresses, flags = crowd.ledger.ask("getAllVersions", "type1", gas=30_000_000)
    assert versions == [f"v{number}" for number in range(1, 500, 3)]
    assert addresses == [crowd.services[number].address for number in range(1, 500, 3)]
    assert flags == [False] * 167
