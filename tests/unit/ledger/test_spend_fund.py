# SPDX-License-Identifier: Apache-2.0
"""spendFund, by which services written by others report what they have paid"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import Service, World


@pytest.mark.usefixtures("opened")
def test_lowers_the_total(ledger: Contract, world: World, user: str, provider: str, service: Service) -> None:
    ledger.send("transferFund", provider, service.name, 4 * COIN, sender=user)
    before = world.evm.balance(provider)
    done = service.send("settle", user, provider, 3 * COIN, sender=provider)
    assert ledger.events_in(done.logs) == [event("FundSpent", user=user, service=service.address, amount=3 * COIN)]
    assert (world.available(user), world.total(user)) == (6 * COIN, 7 * COIN)
    assert world.evm.balance(provider) == before + 3 * COIN


@pytest.mark.usefixtures("opened")
def test_only_for_registered_services_first(ledger: Contract, world: World, user: str, stranger: str) -> None:
    unregistered = world.service("others-v1", registered=False)
    for caller in (user, stranger, world.owner, unregistered.address):
        assert ledger.refused("spendFund", stranger, 0, sender=caller) == error(
            "CallerNotRegisteredService", caller=caller
        )


def test_needs_a_ledger_second(ledger: Contract, stranger: str, service: Service) -> None:
    assert ledger.refused("spendFund", stranger, 1, sender=service.address) == error("LedgerNotExists", user=stranger)


@pytest.mark.usefixtures("opened")
def test_at_most_what_that_service_holds(ledger: Contract, world: World, user: str, provider: str) -> None:
    rich, poor = world.service("others-v1"), world.service("others-v2")
    ledger.send("transferFund", provider, "others-v1", 5 * COIN, sender=user)
    ledger.send("transferFund", provider, "others-v2", 2 * COIN, sender=user)
    for service, held in ((poor, 2 * COIN), (rich, 5 * COIN)):
        assert ledger.refused("spendFund", user, held + 1, sender=service.address) == error(
            "InsufficientAvailableBalance", available=held, required=held + 1
        )
    assert ledger.refused("spendFund", user, 2**256 - 1, sender=poor.address) == error(
        "InsufficientAvailableBalance", available=2 * COIN, required=2**256 - 1
    )
    poor.send("settle", user, provider, 2 * COIN, sender=provider)
    assert ledger.refused("spendFund", user, 1, sender=poor.address) == error(
        "InsufficientAvailableBalance", available=0, required=1
    )
    assert world.total(user) == 8 * COIN


@pytest.mark.usefixtures("opened")
def test_what_came_home_can_not_be_spent(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    ledger.send("transferFund", provider, service.name, 5 * COIN, sender=user)
    for _ in range(2):
        ledger.send("retrieveFund", [provider], service.name, sender=user)
        world.evm.time += 86_400
    assert ledger.refused("spendFund", user, 1, sender=service.address) == error(
        "InsufficientAvailableBalance", available=0, required=1
    )


@pytest.mark.usefixtures("opened")
def test_a_service_that_keeps_the_book_has_nothing_to_report(
    ledger: Contract, user: str, provider: str, native: Service
) -> None:
    ledger.send("transferFund", provider, native.name, 5 * COIN, sender=user)
    assert ledger.refused("spendFund", user, 1, sender=native.address) == error(
        "InsufficientAvailableBalance", available=0, required=1
    )


@pytest.mark.usefixtures("opened")
def test_more_comes_home_than_was_locked(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    """The service adds a coin of its own: it is the user's, and the book of what is locked does not go below zero."""
    ledger.send("transferFund", provider, service.name, 5 * COIN, sender=user)
    service.script("processRefund(address,address)", coins=6 * COIN, answer=(6 * COIN).to_bytes(32, "big") + bytes(64))
    ledger.send("retrieveFund", [provider], service.name, sender=user)
    assert (world.available(user), world.total(user)) == (11 * COIN, 11 * COIN)
