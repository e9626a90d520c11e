# SPDX-License-Identifier: Apache-2.0
"""getLedger"""

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.ledger.world import World


def test_needs_a_ledger(ledger: Contract, stranger: str) -> None:
    assert ledger.refused("getLedger", stranger, sender=stranger) == error("LedgerNotExists", user=stranger)


@pytest.mark.usefixtures("service", "native")
def test_total_is_what_is_available_and_what_every_service_holds(
    ledger: Contract, world: World, user: str, provider: str, second: str
) -> None:
    world.open(user, 20 * COIN, "who I am")
    for one, name, coins in (
        (provider, "others-v1", 1),
        (second, "others-v1", 2),
        (provider, "native-v1", 3),
        (second, "native-v1", 4),
    ):
        ledger.send("transferFund", one, name, coins * COIN, sender=user)
    assert ledger.ask("getLedger", user) == {
        "user": user,
        "availableBalance": 10 * COIN,
        "totalBalance": 20 * COIN,
        "additionalInfo": "who I am",
    }


@pytest.mark.parametrize("kind", ["service", "native"])
@pytest.mark.usefixtures("opened")
def test_a_settlement_lowers_the_total_only(
    ledger: Contract, world: World, user: str, provider: str, kind: str, request: pytest.FixtureRequest
) -> None:
    service = request.getfixturevalue(kind)
    ledger.send("transferFund", provider, service.name, 4 * COIN, sender=user)
    if kind == "service":
        service.send("settle", user, provider, COIN, sender=provider)
    else:
        service.script("lockedBalance(address)", answer=(3 * COIN).to_bytes(32, "big"))
    assert (world.available(user), world.total(user)) == (6 * COIN, 9 * COIN)
