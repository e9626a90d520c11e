# SPDX-License-Identifier: Apache-2.0
"""initialize, initialized, and that nobody can initialise an implementation"""

import pytest

from serving_network.contracts import load
from tests.unit.contract import Contract, behind_front, create, error, event
from tests.unit.inference.world import DAY, STAKE, World

NOBODY = "0x" + "00" * 20


@pytest.fixture
def bare(world: World) -> Contract:
    """A front that nobody has initialised."""
    return behind_front(world.evm, "InferenceServing", STAKE, owner=world.owner)


def test_sets_everything_once(bare: Contract, owner: str, ledger: str, stranger: str) -> None:
    assert bare.ask("initialized") is False
    done = bare.send("initialize", DAY, ledger, owner, sender=stranger)
    assert done.events == [
        event("OwnershipTransferred", previousOwner=NOBODY, newOwner=owner),
        event("ContractInitialized", owner=owner, lockTime=DAY, ledgerAddress=ledger),
        event("Initialized", version=1),
    ]
    assert bare.ask("initialized") is True
    assert (bare.ask("owner"), bare.ask("ledgerAddress"), bare.ask("lockTime")) == (owner, ledger, DAY)
    for caller in (owner, stranger):
        assert bare.refused("initialize", DAY, ledger, stranger, sender=caller) == error("AlreadyInitialized")
        assert bare.refused("initialize", 0, ledger, stranger, sender=caller) == error("AlreadyInitialized")


@pytest.mark.parametrize("seconds", [0, 3599, 7 * DAY + 1, 2**256 - 1])
def test_the_lock_time_has_limits(bare: Contract, owner: str, ledger: str, seconds: int) -> None:
    assert bare.refused("initialize", seconds, ledger, owner, sender=owner) == error(
        "LockTimeOutOfRange", lockTime=seconds, min=3600, max=7 * DAY
    )
    assert bare.ask("initialized") is False


@pytest.mark.parametrize("seconds", [3600, 7 * DAY])
def test_at_the_limits(bare: Contract, owner: str, ledger: str, seconds: int) -> None:
    bare.send("initialize", seconds, ledger, owner, sender=owner)
    assert bare.ask("lockTime") == seconds


def test_an_implementation_locks_itself(world: World, ledger: str, owner: str, stranger: str) -> None:
    outcome = world.evm.deploy(load("InferenceServing").creation_code(STAKE), sender=owner)
    assert outcome.created is not None
    implementation = Contract(world.evm, outcome.created, load("InferenceServing").interface)
    assert implementation.events_in(outcome.logs) == [event("Initialized", version=255)]
    assert implementation.ask("initialized") is False
    for caller in (owner, stranger):
        assert implementation.refused("initialize", DAY, ledger, caller, sender=caller) == error("AlreadyInitialized")
    assert implementation.ask("owner") == NOBODY


def test_a_minimum_stake_of_nothing_is_refused(world: World, owner: str) -> None:
    outcome = world.evm.deploy(load("InferenceServing").creation_code(0), sender=owner)
    assert not outcome.success
    assert load("InferenceServing").interface.decode_error(outcome.output) == error("Error", message="Minimum of zero")


def test_the_minimum_stake_is_chosen_at_deployment(world: World, owner: str, ledger: str, provider: str) -> None:
    cheap = behind_front(world.evm, "InferenceServing", 5, owner=owner, initialize=(DAY, ledger, owner))
    assert cheap.ask("MIN_PROVIDER_STAKE") == 5
    offer = cheap.interface.encode("addOrUpdateService", ("", "", "", "", 0, 0, "", NOBODY))
    assert cheap.refused_raw(offer, sender=provider, value=4) == error("InsufficientStake", provided=4, required=5)


def test_works_behind_a_front_that_asks_its_beacon(
    world: World, owner: str, ledger: str, user: str, provider: str
) -> None:
    slow = behind_front(
        world.evm, "InferenceServing", STAKE, owner=owner, initialize=(DAY, ledger, owner), attached=False
    )
    slow.send("addAccount", user, provider, "info", sender=ledger, value=7)
    assert slow.ask("getAccount", user, provider)["balance"] == 7


def test_the_code_fits_with_room(world: World, owner: str) -> None:
    implementation = create(world.evm, "InferenceServing", STAKE, sender=owner)
    assert len(world.evm.code(implementation)) < 24_300
