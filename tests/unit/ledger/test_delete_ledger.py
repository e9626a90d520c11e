# SPDX-License-Identifier: Apache-2.0
"""deleteLedger"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import ENDLESS, MIN_TRANSFER, REVERT, Service, World, reason

NOBODY = "0x" + 40 * "0"


def spend_everything(world: World, service: Service, *providers: str, amount: int = 10 * COIN) -> None:
    """The user's ledger exists, with nothing available and nothing anywhere else."""
    for provider in providers:
        world.ledger.send("transferFund", provider, service.name, amount // len(providers), sender=world.user)
    for provider in providers:
        service.send("settle", world.user, provider, amount // len(providers), sender=provider)


@pytest.mark.usefixtures("opened")
def test_deletes_the_accounts_and_then_the_ledger(
    ledger: Contract, world: World, user: str, provider: str, second: str, service: Service
) -> None:
    spend_everything(world, service, provider, second)
    done = ledger.send("deleteLedger", sender=user)
    assert done.events == [event("LedgerDeleted", user=user)]
    assert ledger.refused("getLedger", user, sender=user) == error("LedgerNotExists", user=user)
    assert not any(service.ask("account", user, one)["exists"] for one in (provider, second))
    assert world.providers(user) == []


@pytest.mark.usefixtures("opened")
def test_while_accounts_are_deleted_the_ledger_is_gone_already(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    spend_everything(world, service, provider)
    service.script(
        "deleteAccount(address,address)", calls=[(ledger.address, ledger.interface.encode("getLedger", user))]
    )
    ledger.send("deleteLedger", sender=user)
    succeeded, answer = service.outcome(0)
    assert not succeeded
    assert reason(answer, ledger) == error("LedgerNotExists", user=user)


@pytest.mark.usefixtures("opened")
def test_the_last_ledger_leaves_no_trace(ledger: Contract, world: World, user: str, service: Service) -> None:
    spend_everything(world, service, world.provider)
    ledger.send("deleteLedger", sender=user)
    assert ledger.ask("getAllLedgers", 0, 0) == ([], 0)
    assert ledger.refused("getLedger", NOBODY, sender=user) == error("LedgerNotExists", user=NOBODY)


def test_needs_a_ledger_first(ledger: Contract, stranger: str) -> None:
    assert ledger.refused("deleteLedger", sender=stranger) == error("LedgerNotExists", user=stranger)


def test_refuses_while_money_is_available(ledger: Contract, user: str, opened: int) -> None:
    assert ledger.refused("deleteLedger", sender=user) == error("MustWithdrawAllFundsFirst", remainingBalance=opened)


@pytest.mark.parametrize("name", ["others-v1", "native-v1"])
@pytest.mark.usefixtures("service", "native")
def test_refuses_while_a_service_holds_money_and_says_the_total(
    ledger: Contract, user: str, provider: str, opened: int, name: str
) -> None:
    ledger.send("transferFund", provider, name, 4 * COIN, sender=user)
    assert ledger.refused("deleteLedger", sender=user) == error("MustWithdrawAllFundsFirst", remainingBalance=opened)
    ledger.send("refund", 6 * COIN, sender=user)
    assert ledger.refused("deleteLedger", sender=user) == error("MustWithdrawAllFundsFirst", remainingBalance=4 * COIN)


@pytest.mark.usefixtures("opened")
def test_a_service_that_refuses_does_not_stop_it_and_keeps_the_account_listed(
    ledger: Contract, world: World, user: str, provider: str, second: str, service: Service
) -> None:
    spend_everything(world, service, provider, second)
    service.script("deleteAccount(address,address)", mode=REVERT)
    service.script("providerCount(address)", answer=bytes(32))
    ledger.send("deleteLedger", sender=user)
    assert ledger.refused("getLedger", user, sender=user) == error("LedgerNotExists", user=user)
    assert world.providers(user) == [provider, second]

    service.script("deleteAccount(address,address)")
    world.open(user)
    ledger.send("refundAll", sender=user)
    assert world.providers(user) == []
    assert not any(service.ask("account", user, one)["exists"] for one in (provider, second))


@pytest.mark.usefixtures("opened")
def test_a_service_that_only_says_it_deleted_keeps_the_account_listed(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    spend_everything(world, service, provider)
    service.script("deleteAccount(address,address)", answer=b"")
    ledger.send("deleteLedger", sender=user)
    assert world.providers(user) == [provider]


@pytest.mark.parametrize("kept", range(3))
@pytest.mark.usefixtures("opened")
def test_of_three_accounts_only_the_deleted_ones_leave_the_list(
    ledger: Contract, world: World, user: str, provider: str, second: str, service: Service, kept: int
) -> None:
    providers = [provider, second, world.evm.account("third")]
    spend_everything(world, service, *providers, amount=9 * COIN)
    spend_everything(world, service, provider, amount=COIN)
    # The service books a coin of its own for one account, of which the ledger knows nothing: it cannot delete it.
    deposit = service.interface.encode("depositFund", user, providers[kept], 0)
    assert world.evm.send(service.address, deposit, sender=world.stranger, value=COIN).success
    ledger.send("deleteLedger", sender=user)
    assert world.providers(user) == [providers[kept]]


@pytest.mark.usefixtures("opened")
def test_an_account_that_is_gone_already_leaves_the_list(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    spend_everything(world, service, provider)
    service.send("force", user, provider, False, sender=provider)
    ledger.send("deleteLedger", sender=user)
    assert world.providers(user) == []


@pytest.mark.usefixtures("opened")
def test_calls_only_the_services_that_the_user_has_accounts_in(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    other = world.service("others-v2")
    other.script("deleteAccount(address,address)", calls=[(provider, b"")])
    spend_everything(world, service, provider)
    before = ledger.send("deleteLedger", sender=user).gas_used
    world.open(user)
    for i in range(3, 10):
        world.service(f"others-v{i}")
    spend_everything(world, service, provider)
    assert ledger.send("deleteLedger", sender=user).gas_used <= before


@pytest.mark.usefixtures("opened")
def test_a_native_service_that_does_not_answer_is_named(
    ledger: Contract, world: World, user: str, provider: str, native: Service
) -> None:
    ledger.send("transferFund", provider, native.name, 10 * COIN, sender=user)
    native.script("lockedBalance(address)", mode=REVERT)
    assert ledger.refused("deleteLedger", sender=user) == error("ServiceNotAnswering", service=native.address)
    world.ledger.send("depositFund", sender=user, value=1)
    assert ledger.refused("deleteLedger", sender=user) == error("MustWithdrawAllFundsFirst", remainingBalance=1)


@pytest.mark.usefixtures("opened")
def test_a_ledger_opened_again_knows_its_services(
    ledger: Contract, world: World, user: str, provider: str, native: Service
) -> None:
    ledger.send("transferFund", provider, native.name, MIN_TRANSFER, sender=user)
    native.script("lockedBalance(address)", answer=bytes(32))
    native.script("deleteAccount(address,address)", mode=REVERT)
    ledger.send("refundAll", sender=user)
    native.script("lockedBalance(address)")
    world.open(user)
    assert world.total(user) == 10 * COIN + MIN_TRANSFER


@pytest.mark.usefixtures("opened")
@pytest.mark.local_evm
def test_gas_that_is_too_little_to_delete_an_account_fails(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    """A client that looks for the least gas must not find one with which accounts stay."""
    spend_everything(world, service, provider)
    service.script("deleteAccount(address,address)", waste=165_000)
    data = ledger.interface.encode("deleteLedger")
    succeeded = 0
    for gas in range(220_000, 320_000, 4_000):
        with world.evm.rolled_back():
            if world.evm.send(ledger.address, data, sender=user, gas=gas).success:
                succeeded += 1
                assert not service.ask("account", user, provider)["exists"]
                assert world.providers(user) == []
    assert 5 < succeeded < 25


@pytest.mark.parametrize("lie", [{"answer": b""}, {"mode": REVERT}, {"mode": ENDLESS}], ids=str)
@pytest.mark.usefixtures("opened")
def test_an_account_stays_listed_when_nobody_says_that_it_is_gone(
    ledger: Contract, world: World, user: str, provider: str, service: Service, lie: dict[str, bytes | int]
) -> None:
    spend_everything(world, service, provider)
    service.script("accountExists(address,address)", **lie)  # type: ignore[arg-type]
    ledger.send("deleteLedger", sender=user)
    assert world.providers(user) == [provider]
