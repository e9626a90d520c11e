# SPDX-License-Identifier: Apache-2.0
"""getServiceInfo"""

import pytest

from tests.unit.contract import Contract
from tests.unit.ledger.world import Service

NOBODY = "0x" + 40 * "0"


@pytest.mark.parametrize("who", ["stranger", "ledger"])
def test_zeros_for_an_unknown_address(ledger: Contract, stranger: str, who: str) -> None:
    assert ledger.ask("getServiceInfo", stranger if who == "stranger" else ledger.address) == {
        "serviceAddress": NOBODY,
        "serviceContract": NOBODY,
        "serviceType": "",
        "version": "",
        "fullName": "",
        "description": "",
        "isRecommended": False,
        "registeredAt": 0,
    }


def test_says_whether_it_is_recommended(ledger: Contract, owner: str, service: Service) -> None:
    assert not ledger.ask("getServiceInfo", service.address)["isRecommended"]
    ledger.send("setRecommendedService", "others", "v1", sender=owner)
    assert ledger.ask("getServiceInfo", service.address)["isRecommended"]
