# SPDX-License-Identifier: Apache-2.0
"""acceptOwnership"""

from tests.unit.contract import Contract, event

NOBODY = "0x" + "00" * 20


def test_by_whom_it_is_offered_to(serving: Contract, owner: str, user: str) -> None:
    serving.send("offerOwnership", user, sender=owner)
    done = serving.send("acceptOwnership", sender=user)
    assert done.result is None
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=user)]
    assert (serving.ask("owner"), serving.ask("pendingOwner")) == (user, NOBODY)
    assert serving.refused("acceptOwnership", sender=user) is not None


def test_by_nobody_else(serving: Contract, owner: str, user: str, stranger: str) -> None:
    assert serving.refused("acceptOwnership", sender=stranger) is not None
    serving.send("offerOwnership", user, sender=owner)
    for other in (stranger, owner):
        assert serving.refused("acceptOwnership", sender=other) is not None
    assert serving.ask("owner") == owner
