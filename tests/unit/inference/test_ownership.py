# SPDX-License-Identifier: Apache-2.0
"""transferOwnership, renounceOwnership, offerOwnership, acceptOwnership, owner, pendingOwner"""

import pytest

from tests.unit.contract import Contract, error, event

NOBODY = "0x" + "00" * 20
NOT_OWNER = error("Error", message="Ownable: caller is not the owner")


def test_one_step(serving: Contract, owner: str, stranger: str) -> None:
    done = serving.send("transferOwnership", stranger, sender=owner)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=stranger)]
    assert serving.ask("owner") == stranger
    assert serving.refused("updateLockTime", 3600, sender=owner) == NOT_OWNER
    serving.send("updateLockTime", 3600, sender=stranger)


def test_two_steps(serving: Contract, owner: str, stranger: str) -> None:
    done = serving.send("offerOwnership", stranger, sender=owner)
    assert done.events == [event("OwnershipTransferStarted", previousOwner=owner, newOwner=stranger)]
    assert (serving.ask("owner"), serving.ask("pendingOwner")) == (owner, stranger)
    assert serving.refused("acceptOwnership", sender=owner) == error(
        "Error", message="Ownable2Step: caller is not the new owner"
    )
    done = serving.send("acceptOwnership", sender=stranger)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=stranger)]
    assert (serving.ask("owner"), serving.ask("pendingOwner")) == (stranger, NOBODY)


def test_renouncing_ends_an_offer(serving: Contract, owner: str, stranger: str) -> None:
    serving.send("offerOwnership", stranger, sender=owner)
    done = serving.send("renounceOwnership", sender=owner)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=NOBODY)]
    assert (serving.ask("owner"), serving.ask("pendingOwner")) == (NOBODY, NOBODY)
    assert serving.refused("acceptOwnership", sender=stranger) == error(
        "Error", message="Ownable2Step: caller is not the new owner"
    )


@pytest.mark.parametrize("name", ["transferOwnership", "offerOwnership", "renounceOwnership"])
def test_only_the_owner(serving: Contract, stranger: str, provider: str, ledger: str, name: str) -> None:
    for caller in (stranger, provider, ledger):
        arguments = [] if name == "renounceOwnership" else [caller]
        assert serving.refused(name, *arguments, sender=caller) == NOT_OWNER


def test_to_nobody_is_refused(serving: Contract, owner: str) -> None:
    assert serving.refused("transferOwnership", NOBODY, sender=owner) == error(
        "Error", message="Ownable: new owner is the zero address"
    )
