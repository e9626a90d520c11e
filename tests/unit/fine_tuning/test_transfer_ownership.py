# SPDX-License-Identifier: Apache-2.0
"""transferOwnership"""

from tests.unit.contract import Contract, error, event

NOBODY = "0x" + "00" * 20
NOT_THE_OWNER = error("Error", message="Ownable: caller is not the owner")


def test_in_one_step(serving: Contract, owner: str, user: str) -> None:
    done = serving.send("transferOwnership", user, sender=owner)
    assert done.result is None
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=user)]
    assert serving.ask("owner") == user
    assert serving.refused("updateLockTime", 3600, sender=owner) == NOT_THE_OWNER
    serving.send("updateLockTime", 3600, sender=user)


def test_checks_in_order(serving: Contract, owner: str, stranger: str) -> None:
    assert serving.refused("transferOwnership", NOBODY, sender=stranger) == NOT_THE_OWNER
    assert serving.refused("transferOwnership", NOBODY, sender=owner) == error(
        "Error", message="Ownable: new owner is the zero address"
    )


def test_ends_an_offer(serving: Contract, owner: str, user: str, stranger: str) -> None:
    serving.send("offerOwnership", user, sender=owner)
    serving.send("transferOwnership", stranger, sender=owner)
    assert serving.ask("pendingOwner") == NOBODY
    assert serving.refused("acceptOwnership", sender=user) is not None
