# SPDX-License-Identifier: Apache-2.0
"""owner, transferOwnership, renounceOwnership, and the two steps beside them: pendingOwner, offerOwnership,
acceptOwnership"""

import pytest

from tests.unit.contract import Contract, error, event

NOBODY = "0x" + 40 * "0"
NOT_OWNER = error("Error", message="Ownable: caller is not the owner")


def test_one_step(ledger: Contract, owner: str, user: str) -> None:
    done = ledger.send("transferOwnership", user, sender=owner)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=user)]
    assert ledger.ask("owner") == user
    assert ledger.refused("transferOwnership", owner, sender=owner) == NOT_OWNER


def test_one_step_to_nobody_is_refused(ledger: Contract, owner: str) -> None:
    assert ledger.refused("transferOwnership", NOBODY, sender=owner) == error(
        "Error", message="Ownable: new owner is the zero address"
    )


def test_renouncing(ledger: Contract, owner: str) -> None:
    done = ledger.send("renounceOwnership", sender=owner)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=NOBODY)]
    assert ledger.ask("owner") == NOBODY
    assert ledger.refused("renounceOwnership", sender=owner) == NOT_OWNER


def test_two_steps(ledger: Contract, owner: str, user: str, stranger: str) -> None:
    done = ledger.send("offerOwnership", user, sender=owner)
    assert done.events == [event("OwnershipTransferStarted", previousOwner=owner, newOwner=user)]
    assert (ledger.ask("owner"), ledger.ask("pendingOwner")) == (owner, user)
    for sender in (stranger, owner):
        assert ledger.refused("acceptOwnership", sender=sender) == error(
            "Error", message="Ownable2Step: caller is not the new owner"
        )
    done = ledger.send("acceptOwnership", sender=user)
    assert done.events == [event("OwnershipTransferred", previousOwner=owner, newOwner=user)]
    assert (ledger.ask("owner"), ledger.ask("pendingOwner")) == (user, NOBODY)


@pytest.mark.parametrize(("name", "takes"), [("offerOwnership", NOBODY), ("transferOwnership", None)])
def test_an_offer_ends(ledger: Contract, owner: str, user: str, stranger: str, name: str, takes: str | None) -> None:
    ledger.send("offerOwnership", user, sender=owner)
    ledger.send(name, takes or stranger, sender=owner)
    assert ledger.ask("pendingOwner") == NOBODY
    assert ledger.refused("acceptOwnership", sender=user) == error(
        "Error", message="Ownable2Step: caller is not the new owner"
    )


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("transferOwnership", ["user"]),
        ("renounceOwnership", []),
        ("offerOwnership", ["user"]),
        ("registerService", ["type", "v1", "user", ""]),
        ("setRecommendedService", ["type", "v1"]),
    ],
)
def test_only_the_owner(ledger: Contract, user: str, stranger: str, name: str, args: list[str]) -> None:
    given = [user if one == "user" else one for one in args]
    for sender in (user, stranger):
        assert ledger.refused(name, *given, sender=sender) == NOT_OWNER
