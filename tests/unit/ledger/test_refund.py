# SPDX-License-Identifier: Apache-2.0
"""refund"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import MIN_ACCOUNT, Service, World

DUST = MIN_ACCOUNT - 1


def test_pays_a_part(ledger: Contract, world: World, user: str, opened: int) -> None:
    before = world.evm.balance(user)
    done = ledger.send("refund", 2 * COIN, sender=user)
    assert done.events == [event("Refunded", user=user, amount=2 * COIN, availableBalance=opened - 2 * COIN)]
    assert world.evm.balance(user) == before + 2 * COIN
    assert (world.available(user), world.total(user)) == (opened - 2 * COIN, opened - 2 * COIN)


def test_pays_a_single_wei(ledger: Contract, world: World, user: str, opened: int) -> None:
    before = world.evm.balance(user)
    ledger.send("refund", 1, sender=user)
    assert (world.evm.balance(user) - before, world.available(user)) == (1, opened - 1)


def test_a_wallet_that_refuses_coins_is_sent_none_when_there_are_none(ledger: Contract, world: World) -> None:
    wallet = world.wallet()
    wallet.act(ledger, "depositFund", coins=MIN_ACCOUNT)
    wallet.send("refuse", True, sender=world.stranger)
    assert wallet.act(ledger, "refund", 0) == [
        event("Refunded", user=wallet.address, amount=0, availableBalance=MIN_ACCOUNT)
    ]


def test_needs_a_ledger_first(ledger: Contract, stranger: str) -> None:
    assert ledger.refused("refund", 1, sender=stranger) == error("LedgerNotExists", user=stranger)


@pytest.mark.parametrize("excess", [1, 2**256 - 1 - 10 * COIN])
def test_refuses_more_than_is_available_second(ledger: Contract, user: str, opened: int, excess: int) -> None:
    assert ledger.refused("refund", opened + excess, sender=user) == error("InsufficientBalance", user=user)


def test_refuses_to_leave_less_than_the_minimum_third(ledger: Contract, user: str, opened: int) -> None:
    assert ledger.refused("refund", opened - DUST, sender=user) == error(
        "MinimumDepositRequired", provided=DUST, required=MIN_ACCOUNT
    )
    ledger.send("refund", opened - MIN_ACCOUNT, sender=user)


@pytest.mark.usefixtures("service", "opened")
def test_refuses_even_nothing_while_too_little_is_available(ledger: Contract, user: str, provider: str) -> None:
    ledger.send("transferFund", provider, "others-v1", 8 * COIN, sender=user)
    assert ledger.refused("refund", 0, sender=user) == error(
        "MinimumDepositRequired", provided=2 * COIN, required=MIN_ACCOUNT
    )


def test_nothing_of_much_is_nothing(ledger: Contract, world: World, user: str, opened: int) -> None:
    ledger.send("refund", 0, sender=user)
    assert world.available(user) == opened


@pytest.mark.parametrize("name", ["others-v1", "native-v1"])
@pytest.mark.usefixtures("service", "native", "opened")
def test_nothing_of_nothing_leaves_the_ledger_while_a_service_holds_money(
    ledger: Contract, world: World, user: str, provider: str, name: str
) -> None:
    ledger.send("transferFund", provider, name, 10 * COIN, sender=user)
    ledger.send("refund", 0, sender=user)
    assert (world.available(user), world.total(user)) == (0, 10 * COIN)


@pytest.mark.usefixtures("opened")
def test_nothing_of_nothing_deletes_when_no_service_holds_money(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    ledger.send("transferFund", provider, "others-v1", 10 * COIN, sender=user)
    service.send("settle", user, provider, 10 * COIN, sender=provider)
    assert world.total(user) == 0
    done = ledger.send("refund", 0, sender=user)
    assert done.named("LedgerDeleted") == [{"user": user}]
    assert not service.ask("account", user, provider)["exists"]
    assert ledger.refused("refund", 0, sender=user) == error("LedgerNotExists", user=user)


@pytest.mark.parametrize("name", ["others-v1", "native-v1"])
@pytest.mark.usefixtures("service", "native", "opened")
def test_everything_available_may_go_while_services_hold_money(
    ledger: Contract, world: World, user: str, provider: str, name: str
) -> None:
    ledger.send("transferFund", provider, name, 4 * COIN, sender=user)
    done = ledger.send("refund", 6 * COIN, sender=user)
    assert done.events == [event("Refunded", user=user, amount=6 * COIN, availableBalance=0)]
    assert (world.available(user), world.total(user)) == (0, 4 * COIN)


@pytest.mark.parametrize("kind", ["others-v1", "native-v1"])
def test_everything_deletes_the_ledger_and_its_accounts(
    ledger: Contract, world: World, user: str, provider: str, second: str, opened: int, kind: str
) -> None:
    service = world.service(kind, native=kind == "native-v1")
    for one in (provider, second):
        ledger.send("transferFund", one, kind, 2 * COIN, sender=user)
    ledger.send("retrieveFund", [provider, second], kind, sender=user)
    world.evm.time += 86_400
    ledger.send("retrieveFund", [provider, second], kind, sender=user)
    before = world.evm.balance(user)

    done = ledger.send("refund", opened, sender=user)
    assert done.events == [
        event("Refunded", user=user, amount=opened, availableBalance=0),
        event("LedgerDeleted", user=user),
    ]
    assert world.evm.balance(user) == before + opened
    assert ledger.refused("getLedger", user, sender=user) == error("LedgerNotExists", user=user)
    assert world.providers(user, kind) == []
    assert not any(service.ask("account", user, one)["exists"] for one in (provider, second))


def test_a_wallet_that_refuses_coins_gets_an_error(ledger: Contract, world: World) -> None:
    wallet = world.wallet()
    wallet.act(ledger, "depositFund", coins=10 * COIN)
    wallet.send("refuse", True, sender=world.stranger)
    assert wallet.refused_by(ledger, "refund", 10 * COIN) == error("TransferFailed")
    assert world.available(wallet.address) == 10 * COIN


def test_deletion_moves_the_last_ledger_into_the_gap(ledger: Contract, world: World) -> None:
    users = [world.evm.account(f"user {i}") for i in range(5)]
    for one in users:
        world.open(one)
    ledger.send("refund", 10 * COIN, sender=users[1])
    assert [one["user"] for one in world.ledgers()] == [users[0], users[4], users[2], users[3]]
    ledger.send("refund", 10 * COIN, sender=users[0])
    assert [one["user"] for one in world.ledgers()] == [users[3], users[4], users[2]]
    for one in (users[2], users[4], users[3]):
        world.check_books()
        ledger.send("refund", 10 * COIN, sender=one)
    assert list(world.ledgers()) == []
