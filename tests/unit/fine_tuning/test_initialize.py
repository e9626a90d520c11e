# SPDX-License-Identifier: Apache-2.0
"""initialize and initialized"""

from typing import Any

import pytest

from serving_network.contracts import load
from tests.evm import Evm
from tests.unit.contract import Contract, behind_front, create, error, event
from tests.unit.fine_tuning.world import DAY, PENALTY, STAKE, STOP

NOBODY = "0x" + "00" * 20


@pytest.fixture
def fresh(evm: Evm, owner: str) -> Contract:
    """A front that nobody has initialised."""
    return behind_front(evm, "FineTuningServing", STAKE, owner=owner)


def test_sets_a_front_up(fresh: Contract, ledger: str, stranger: str, user: str) -> None:
    assert not fresh.ask("initialized")
    done = fresh.send("initialize", DAY, ledger, user, 100, sender=stranger)
    assert done.result is None
    assert done.events == [
        event("OwnershipTransferred", previousOwner=NOBODY, newOwner=user),
        event("Initialized", version=1),
    ]
    assert fresh.ask("initialized")
    assert (fresh.ask("lockTime"), fresh.ask("ledgerAddress")) == (DAY, ledger)
    assert (fresh.ask("owner"), fresh.ask("penaltyPercentage")) == (user, 100)


def test_checks_in_order(serving: Contract, fresh: Contract, ledger: str, user: str) -> None:
    def refused(*args: Any, front: Contract = fresh) -> object:
        return front.refused("initialize", *args, sender=user)

    assert refused(1, user, user, 101, front=serving) == error("AlreadyInitialized")
    assert refused(1, user, user, 101) == error("InvalidLedgerAddress")
    assert refused(1, NOBODY, user, 101) == error("InvalidLedgerAddress")
    assert refused(1, ledger, user, 101) == error("PenaltyPercentageTooHigh", percentage=101)
    assert refused(1, ledger, user, 2**256 - 1) == error("PenaltyPercentageTooHigh", percentage=2**256 - 1)
    assert refused(3599, ledger, user, 100) == error("LockTimeOutOfRange", lockTime=3599)
    assert refused(7 * DAY + 1, ledger, user, 100) == error("LockTimeOutOfRange", lockTime=7 * DAY + 1)
    assert not fresh.ask("initialized")


@pytest.mark.parametrize("seconds", [3600, 7 * DAY])
def test_lock_times_at_the_limits(fresh: Contract, ledger: str, user: str, seconds: int) -> None:
    fresh.send("initialize", seconds, ledger, user, 0, sender=user)
    assert (fresh.ask("lockTime"), fresh.ask("penaltyPercentage")) == (seconds, 0)


@pytest.mark.parametrize("sender", ["owner", "stranger"])
def test_never_twice(serving: Contract, ledger: str, request: pytest.FixtureRequest, sender: str) -> None:
    caller = request.getfixturevalue(sender)
    assert serving.refused("initialize", DAY, ledger, caller, PENALTY, sender=caller) == error("AlreadyInitialized")


def test_the_implementation_is_locked(evm: Evm, owner: str, ledger: str) -> None:
    artifact = load("FineTuningServing")
    created = evm.deploy(artifact.creation_code(STAKE), sender=owner)
    assert created.created is not None
    implementation = Contract(evm, created.created, artifact.interface)
    assert implementation.events_in(created.logs) == [event("Initialized", version=255)]
    assert not implementation.ask("initialized")
    assert implementation.refused("initialize", DAY, ledger, owner, PENALTY, sender=owner) == error(
        "AlreadyInitialized"
    )


def test_a_minimum_stake_of_zero_is_refused(evm: Evm, owner: str) -> None:
    outcome = evm.deploy(load("FineTuningServing").creation_code(0), sender=owner)
    assert load("FineTuningServing").interface.decode_error(outcome.output) == error("Error", message="Minimum of zero")


def test_the_implementation_fits_where_code_may_be_at_most(evm: Evm, owner: str) -> None:
    assert len(evm.code(create(evm, "FineTuningServing", STAKE, sender=owner))) <= 24_576


def test_a_front_that_is_not_attached_works_alike(evm: Evm, owner: str, ledger: str, user: str, provider: str) -> None:
    front = behind_front(
        evm, "FineTuningServing", STAKE, owner=owner, initialize=(DAY, ledger, owner, PENALTY), attached=False
    )
    evm.set_code(ledger, STOP)
    front.send("addAccount", user, provider, "", sender=ledger, value=5)
    assert front.ask("lockedBalance", user) == 5
