# SPDX-License-Identifier: Apache-2.0
"""setRecommendedService"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.ledger.world import World

NOBODY = "0x" + 40 * "0"


@pytest.fixture
def versions(world: World) -> list[str]:
    """Addresses of two versions of one type and one version of another."""
    return [world.service(name).address for name in ("others-v1", "others-v2", "more-v1")]


def recommended(ledger: Contract) -> list[str]:
    return [one["fullName"] for one in ledger.ask("getAllActiveServices") if one["isRecommended"]]


def test_one_version_per_type(ledger: Contract, owner: str, versions: list[str]) -> None:
    assert recommended(ledger) == []
    done = ledger.send("setRecommendedService", "others", "v1", sender=owner)
    assert done.events == [
        event("RecommendedServiceUpdated", serviceType="others", version="v1", serviceAddress=versions[0])
    ]
    ledger.send("setRecommendedService", "more", "v1", sender=owner)
    assert recommended(ledger) == ["others-v1", "more-v1"]
    ledger.send("setRecommendedService", "others", "v2", sender=owner)
    assert recommended(ledger) == ["others-v2", "more-v1"]
    ledger.send("setRecommendedService", "others", "v2", sender=owner)
    assert recommended(ledger) == ["others-v2", "more-v1"]


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(("kind", "version"), [("others", "v3"), ("", ""), ("other", "s-v1"), ("x" * 96, "y" * 96)])
def test_needs_the_service(ledger: Contract, owner: str, kind: str, version: str) -> None:
    assert ledger.refused("setRecommendedService", kind, version, sender=owner) == error(
        "ServiceNotFound", serviceAddress=NOBODY
    )


def test_the_same_name_split_otherwise_is_another_service(ledger: Contract, world: World, owner: str) -> None:
    address = world.service(registered=False).address
    ledger.send("registerService", "a-b", "c", address, "", sender=owner)
    assert ledger.refused("setRecommendedService", "a", "b-c", sender=owner) == error(
        "ServiceNotFound", serviceAddress=NOBODY
    )
    ledger.send("setRecommendedService", "a-b", "c", sender=owner)
    assert ledger.ask("isRecommendedVersion", "a-b", "c")
    assert not ledger.ask("isRecommendedVersion", "a", "b-c")
    assert ledger.ask("getRecommendedService", "a-b") == ("c", address)
    assert ledger.refused("getRecommendedService", "a", sender=owner) == error("NoRecommendedService", serviceType="a")


@pytest.mark.usefixtures("versions")
def test_only_the_owner(ledger: Contract, stranger: str) -> None:
    assert ledger.refused("setRecommendedService", "others", "v1", sender=stranger) == error(
        "Error", message="Ownable: caller is not the owner"
    )
