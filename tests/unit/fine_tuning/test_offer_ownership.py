# SPDX-License-Identifier: Apache-2.0
"""offerOwnership and pendingOwner"""

from tests.unit.contract import Contract, error, event

NOBODY = "0x" + "00" * 20


def test_moves_nothing_yet(serving: Contract, owner: str, user: str) -> None:
    assert serving.ask("pendingOwner") == NOBODY
    done = serving.send("offerOwnership", user, sender=owner)
    assert done.result is None
    assert done.events == [event("OwnershipTransferStarted", previousOwner=owner, newOwner=user)]
    assert (serving.ask("owner"), serving.ask("pendingOwner")) == (owner, user)


def test_the_last_one_counts(serving: Contract, owner: str, user: str, stranger: str) -> None:
    serving.send("offerOwnership", user, sender=owner)
    serving.send("offerOwnership", stranger, sender=owner)
    assert serving.refused("acceptOwnership", sender=user) is not None
    serving.send("offerOwnership", NOBODY, sender=owner)
    assert serving.refused("acceptOwnership", sender=stranger) is not None
    assert serving.ask("owner") == owner


def test_is_the_owners(serving: Contract, user: str, stranger: str) -> None:
    assert serving.refused("offerOwnership", user, sender=stranger) == error(
        "Error", message="Ownable: caller is not the owner"
    )
