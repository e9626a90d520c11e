"""transferOwnership, renounceOwnership, offerOwnership, acceptOwnership, pendingOwner"""

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


def test_not_to_nobody(serving: Contract, owner: str, stranger: str) -> None:
    assert serving.refused("transferOwnership", NOBODY, sender=stranger) == NOT_THE_OWNER
    assert serving.refused("transferOwnership", NOBODY, sender=owner) == error(
        "Error", message="Ownable: new owner is the zero address"
    )


def test_renounced(serving: Contract, owner: str, stranger: str) -> None:
    assert serving.refused("renounceOwnership", sender=stranger) == NOT_THE_OWNER
    done = serving.send("renounceOwnership", sender=owner)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=NOBODY)]
    assert serving.ask("owner") == NOBODY


def test_in_two_steps(serving: Contract, owner: str, user: str, stranger: str) -> None:
    assert serving.refused("offerOwnership", user, sender=stranger) == NOT_THE_OWNER
    done = serving.send("offerOwnership", user, sender=owner)
    assert done.events == [event("OwnershipTransferStarted", previousOwner=owner, newOwner=user)]
    assert (serving.ask("owner"), serving.ask("pendingOwner")) == (owner, user)
    for other in (stranger, owner):
        assert serving.refused("acceptOwnership", sender=other) is not None
    done = serving.send("acceptOwnership", sender=user)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=user)]
    assert (serving.ask("owner"), serving.ask("pendingOwner")) == (user, NOBODY)


def test_an_offer_ends_with_a_transfer_or_another_offer(
    serving: Contract, owner: str, user: str, stranger: str
) -> None:
    serving.send("offerOwnership", user, sender=owner)
    serving.send("offerOwnership", NOBODY, sender=owner)
    assert serving.refused("acceptOwnership", sender=user) is not None
    serving.send("offerOwnership", user, sender=owner)
    serving.send("transferOwnership", stranger, sender=owner)
    assert serving.refused("acceptOwnership", sender=user) is not None
