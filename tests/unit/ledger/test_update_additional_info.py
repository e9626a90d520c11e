# SPDX-License-Identifier: Apache-2.0
"""updateAdditionalInfo"""

import pytest

from tests.unit.contract import Contract, error, event


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("info", ["", "short", "x" * 4096])
def test_changes_the_info(ledger: Contract, user: str, info: str) -> None:
    ledger.send("updateAdditionalInfo", "before", sender=user)
    done = ledger.send("updateAdditionalInfo", info, sender=user)
    assert done.events == [event("LedgerInfoUpdated", user=user, additionalInfo=info)]
    assert ledger.ask("getLedger", user)["additionalInfo"] == info


@pytest.mark.parametrize("length", [4097, 5120])
def test_refuses_a_long_info_first(ledger: Contract, stranger: str, length: int) -> None:
    assert ledger.refused("updateAdditionalInfo", "x" * length, sender=stranger) == error(
        "AdditionalInfoTooLong", length=length, max=4096
    )


def test_needs_a_ledger(ledger: Contract, stranger: str) -> None:
    assert ledger.refused("updateAdditionalInfo", "", sender=stranger) == error("LedgerNotExists", user=stranger)


def test_moves_no_money(ledger: Contract, user: str, opened: int) -> None:
    ledger.send("updateAdditionalInfo", "new", sender=user)
    assert ledger.ask("getLedger", user) == {
        "user": user,
        "availableBalance": opened,
        "totalBalance": opened,
        "additionalInfo": "new",
    }
