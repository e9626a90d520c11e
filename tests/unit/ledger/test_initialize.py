# SPDX-License-Identifier: Apache-2.0
"""initialize, initialized, and the implementation behind the front"""

import pytest

from serving_network.contracts import load
from tests.evm import Evm
from tests.unit.contract import Contract, behind_front, create, error, event
from tests.unit.ledger.world import MIN_ACCOUNT, MIN_TRANSFER, World

NOBODY = "0x" + 40 * "0"


@pytest.fixture
def fresh(world: World) -> Contract:
    """A front that nobody has initialised."""
    return behind_front(world.evm, "LedgerManager", MIN_ACCOUNT, MIN_TRANSFER, owner=world.owner)


def test_happens_once(fresh: Contract, stranger: str, user: str) -> None:
    assert (fresh.ask("initialized"), fresh.ask("owner")) == (False, NOBODY)
    done = fresh.send("initialize", user, sender=stranger)
    assert done.events == [
        event("OwnershipTransferred", previousOwner=NOBODY, newOwner=user),
        event("Initialized", version=1),
    ]
    assert (fresh.ask("initialized"), fresh.ask("owner")) == (True, user)
    for sender in (stranger, user):
        assert fresh.refused("initialize", stranger, sender=sender) == error("AlreadyInitialized")


def test_our_deployment_leaves_no_gap(ledger: Contract, owner: str, stranger: str) -> None:
    assert ledger.ask("initialized")
    assert ledger.ask("owner") == owner
    assert ledger.refused("initialize", stranger, sender=stranger) == error("AlreadyInitialized")


def test_the_implementation_locks_itself(world: World, owner: str, stranger: str) -> None:
    artifact = load("LedgerManager")
    outcome = world.evm.deploy(artifact.creation_code(MIN_ACCOUNT, MIN_TRANSFER), sender=owner)
    assert outcome.created is not None
    implementation = Contract(world.evm, outcome.created, artifact.interface)
    assert implementation.events_in(outcome.logs) == [event("Initialized", version=255)]
    assert not implementation.ask("initialized")
    assert implementation.refused("initialize", stranger, sender=stranger) == error("AlreadyInitialized")


@pytest.mark.parametrize("minimums", [(0, 1), (1, 0)])
def test_minimums_of_zero_are_refused(minimums: tuple[int, int]) -> None:
    evm = Evm()
    outcome = evm.deploy(load("LedgerManager").creation_code(*minimums), sender=evm.account("owner"))
    assert not outcome.success
    assert b"Minimum of zero" in outcome.output


def test_minimums_are_chosen_at_deployment(world: World, owner: str) -> None:
    artifact = load("LedgerManager")
    small = Contract(world.evm, create(world.evm, "LedgerManager", 10, 7, sender=owner), artifact.interface)
    assert (small.ask("MIN_ACCOUNT_BALANCE"), small.ask("MIN_TRANSFER_AMOUNT")) == (10, 7)


def test_constants(ledger: Contract) -> None:
    assert {
        name: ledger.ask(name)
        for name in (
            "MAX_ADDITIONAL_INFO_LENGTH",
            "MAX_PROVIDERS_PER_BATCH",
            "MAX_PROVIDERS_PER_USER_PER_SERVICE",
            "MAX_SERVICES",
            "MIN_ACCOUNT_BALANCE",
            "MIN_TRANSFER_AMOUNT",
        )
    } == {
        "MAX_ADDITIONAL_INFO_LENGTH": 4096,
        "MAX_PROVIDERS_PER_BATCH": 20,
        "MAX_PROVIDERS_PER_USER_PER_SERVICE": 50,
        "MAX_SERVICES": 500,
        "MIN_ACCOUNT_BALANCE": 3 * 10**18,
        "MIN_TRANSFER_AMOUNT": 10**18,
    }
