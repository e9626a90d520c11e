# SPDX-License-Identifier: Apache-2.0
"""getLedgerProviders"""

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.ledger.world import Service, World


def test_needs_a_service(ledger: Contract, user: str) -> None:
    assert ledger.refused("getLedgerProviders", user, "unknown", sender=user) == error(
        "ServiceNotFound", serviceAddress="0x" + 40 * "0"
    )


@pytest.mark.parametrize("name", ["others-v1", "native-v1"])
@pytest.mark.usefixtures("service", "native", "opened")
def test_the_providers_that_the_user_has_accounts_with(
    ledger: Contract, world: World, user: str, stranger: str, provider: str, second: str, name: str
) -> None:
    world.open(stranger)
    assert world.providers(user, name) == []
    for one in (second, provider):
        ledger.send("transferFund", one, name, COIN, sender=user)
    ledger.send("transferFund", provider, name, COIN, sender=stranger)
    assert world.providers(user, name) == [second, provider]
    assert world.providers(stranger, name) == [provider]
    assert world.providers(provider, name) == []


@pytest.mark.usefixtures("opened")
def test_each_service_has_its_own(
    ledger: Contract, world: World, user: str, provider: str, second: str, service: Service, native: Service
) -> None:
    ledger.send("transferFund", provider, service.name, COIN, sender=user)
    ledger.send("transferFund", second, native.name, COIN, sender=user)
    assert world.providers(user, service.name) == [provider]
    assert world.providers(user, native.name) == [second]
