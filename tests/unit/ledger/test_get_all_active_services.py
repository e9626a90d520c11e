# SPDX-License-Identifier: Apache-2.0
"""getAllActiveServices"""

from tests.unit.contract import Contract
from tests.unit.ledger.world import World


def test_every_service_oldest_first(ledger: Contract, world: World) -> None:
    made = [world.service(name) for name in ("others-v1", "more-v1", "others-v2")]
    assert ledger.ask("getAllActiveServices") == [ledger.ask("getServiceInfo", one.address) for one in made]


def test_five_hundred_are_answered_within_a_nodes_limit(crowd: World) -> None:
    found = crowd.ledger.ask("getAllActiveServices", gas=30_000_000)
    assert [one["serviceAddress"] for one in found] == [one.address for one in crowd.services]
