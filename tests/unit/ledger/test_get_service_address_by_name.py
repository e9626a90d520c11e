# SPDX-License-Identifier: Apache-2.0
"""getServiceAddressByName"""

import pytest

from tests.unit.contract import Contract
from tests.unit.ledger.world import Service


def test_by_full_name(ledger: Contract, service: Service) -> None:
    assert ledger.ask("getServiceAddressByName", "others-v1") == service.address


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("name", ["", "others", "v1", "others-v", "others-v1 ", "OTHERS-V1", "x" * 193])
def test_zero_for_any_other(ledger: Contract, name: str) -> None:
    assert ledger.ask("getServiceAddressByName", name) == "0x" + 40 * "0"
