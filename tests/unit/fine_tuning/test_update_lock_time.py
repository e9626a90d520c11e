# SPDX-License-Identifier: Apache-2.0
"""updateLockTime"""

import pytest

from tests.unit.contract import Contract, error, event
from tests.unit.fine_tuning.world import DAY


@pytest.mark.parametrize("seconds", [3600, 2 * DAY, 7 * DAY])
def test_changes_it(serving: Contract, owner: str, seconds: int) -> None:
    done = serving.send("updateLockTime", seconds, sender=owner)
    assert done.result is None
    assert done.events == [event("LockTimeUpdated", oldLockTime=DAY, newLockTime=seconds)]
    assert serving.ask("lockTime") == seconds


def test_is_silent_when_nothing_changes(serving: Contract, owner: str) -> None:
    assert serving.send("updateLockTime", DAY, sender=owner).events == []


def test_checks_in_order(serving: Contract, owner: str, stranger: str) -> None:
    assert serving.refused("updateLockTime", 0, sender=stranger) == error(
        "Error", message="Ownable: caller is not the owner"
    )
    for seconds in (0, 3599, 7 * DAY + 1, 2**256 - 1):
        assert serving.refused("updateLockTime", seconds, sender=owner) == error("LockTimeOutOfRange", lockTime=seconds)
