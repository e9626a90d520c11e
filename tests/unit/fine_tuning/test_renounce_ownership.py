# SPDX-License-Identifier: Apache-2.0
"""renounceOwnership"""

from tests.unit.contract import Contract, error, event

NOBODY = "0x" + "00" * 20


def test_leaves_the_contract_without_an_owner(serving: Contract, owner: str, user: str) -> None:
    serving.send("offerOwnership", user, sender=owner)
    done = serving.send("renounceOwnership", sender=owner)
    assert done.result is None
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=NOBODY)]
    assert serving.ask("owner") == NOBODY
    assert serving.refused("acceptOwnership", sender=user) is not None


def test_is_the_owners(serving: Contract, stranger: str) -> None:
    assert serving.refused("renounceOwnership", sender=stranger) == error(
        "Error", message="Ownable: caller is not the owner"
    )
