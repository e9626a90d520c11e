# SPDX-License-Identifier: Apache-2.0
"""A user's services beyond the 118 that fit into the ledger's word"""

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.ledger.world import DAY, REVERT, World

# The first and last number of each group of bits, and neighbours.
NUMBERS = [0, 1, 2, 117, 118, 129, 246, 373, 374, 499]


@pytest.fixture
def crowded(crowd: World) -> Contract:
    """A ledger with 500 services, and a user who has 2 coins with a provider in some of them."""
    crowd.open(crowd.user, 40 * COIN, "who I am")
    for number in NUMBERS:
        crowd.ledger.send("transferFund", crowd.provider, crowd.services[number].name, 2 * COIN, sender=crowd.user)
    return crowd.ledger


def test_the_total_counts_all_of_them(crowd: World, crowded: Contract) -> None:
    assert crowded.ask("getLedger", crowd.user) == {
        "user": crowd.user,
        "availableBalance": (40 - 2 * len(NUMBERS)) * COIN,
        "totalBalance": 40 * COIN,
        "additionalInfo": "who I am",
    }
    for number, service in enumerate(crowd.services):
        if number in NUMBERS:
            assert service.held(crowd.user, [crowd.provider]) == 2 * COIN


@pytest.mark.parametrize("number", NUMBERS)
def test_money_in_any_of_them_keeps_the_ledger(crowd: World, crowded: Contract, number: int) -> None:
    for one in NUMBERS:
        if one != number:
            crowd.services[one].send("settle", crowd.user, crowd.provider, 2 * COIN, sender=crowd.provider)
    assert not crowded.send("refundAll", sender=crowd.user).named("LedgerDeleted")
    assert crowded.refused("deleteLedger", sender=crowd.user) == error(
        "MustWithdrawAllFundsFirst", remainingBalance=2 * COIN
    )


def test_deletion_deletes_in_all_of_them_and_leaves_no_trace(crowd: World, crowded: Contract) -> None:
    for number in NUMBERS:
        crowd.services[number].send("settle", crowd.user, crowd.provider, 2 * COIN, sender=crowd.provider)
    done = crowded.send("refundAll", sender=crowd.user)
    assert done.named("LedgerDeleted") == [{"user": crowd.user}]
    for number in NUMBERS:
        assert not crowd.services[number].ask("account", crowd.user, crowd.provider)["exists"]
    # Leaving again asks no service: no bit is left.
    for number in NUMBERS:
        crowd.services[number].script("lockedBalance(address)", mode=REVERT)
    crowd.open(crowd.user)
    done = crowded.send("refundAll", sender=crowd.user)
    assert done.named("LedgerDeleted") == [{"user": crowd.user}]
    assert done.gas_used < 80_000


@pytest.mark.parametrize("number", NUMBERS)
def test_only_the_one_that_refuses_stays(crowd: World, crowded: Contract, number: int) -> None:
    for one in NUMBERS:
        crowd.services[one].send("settle", crowd.user, crowd.provider, 2 * COIN, sender=crowd.provider)
    stubborn = crowd.services[number]
    stubborn.script("deleteAccount(address,address)", answer=b"")
    crowded.send("refundAll", sender=crowd.user)
    assert [one for one in NUMBERS if crowd.services[one].ask("account", crowd.user, crowd.provider)["exists"]] == [
        number
    ]
    stubborn.script("deleteAccount(address,address)")
    crowd.open(crowd.user)
    crowded.send("refundAll", sender=crowd.user)
    assert not stubborn.ask("account", crowd.user, crowd.provider)["exists"]
    crowd.open(crowd.user)
    assert crowded.send("refundAll", sender=crowd.user).gas_used < 80_000


@pytest.mark.parametrize("number", NUMBERS)
def test_money_comes_home_from_each(crowd: World, crowded: Contract, number: int) -> None:
    name = crowd.services[number].name
    before = crowd.available(crowd.user)
    for _ in range(2):
        crowded.send("retrieveFund", [crowd.provider], name, sender=crowd.user)
        crowd.evm.time += DAY
    assert crowd.available(crowd.user) == before + 2 * COIN
    assert crowd.total(crowd.user) == 40 * COIN


def test_users_do_not_share_them(crowd: World, crowded: Contract) -> None:
    crowd.open(crowd.stranger)
    assert crowd.total(crowd.stranger) == 10 * COIN
    crowded.send("transferFund", crowd.second, crowd.services[200].name, COIN, sender=crowd.stranger)
    assert (crowd.total(crowd.stranger), crowd.total(crowd.user)) == (10 * COIN, 40 * COIN)


def test_a_new_additional_info_loses_no_service(crowd: World, crowded: Contract) -> None:
    for info in ("", "somebody else", ""):
        crowded.send("updateAdditionalInfo", info, sender=crowd.user)
        assert crowded.ask("getLedger", crowd.user) == {
            "user": crowd.user,
            "availableBalance": (40 - 2 * len(NUMBERS)) * COIN,
            "totalBalance": 40 * COIN,
            "additionalInfo": info,
        }


def test_services_that_the_user_has_nothing_in_are_not_asked(crowd: World) -> None:
    crowd.open(crowd.user)
    crowd.ledger.send("transferFund", crowd.provider, crowd.services[1].name, 2 * COIN, sender=crowd.user)
    for service in crowd.services:
        if service is not crowd.services[1]:
            crowd.evm.set_code(service.address, b"\xfe")
    crowd.services[1].send("settle", crowd.user, crowd.provider, 2 * COIN, sender=crowd.provider)
    assert crowd.ledger.send("refundAll", sender=crowd.user).named("LedgerDeleted") == [{"user": crowd.user}]
