# SPDX-License-Identifier: Apache-2.0
"""retrieveFund, from services that keep no account book and from those that do"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import DAY, REVERT, Service, World

KINDS = pytest.mark.parametrize("kind", ["others-v1", "native-v1"])
NOBODY = "0x" + 40 * "0"


@pytest.fixture
def both(world: World) -> dict[str, Service]:
    """A service of either kind, by name, and a user who has 4 coins with one provider and 3 with another in each."""
    made = {"others-v1": world.service(), "native-v1": world.service("native-v1", native=True)}
    world.open(world.user, 20 * COIN)
    for name in made:
        world.ledger.send("transferFund", world.provider, name, 4 * COIN, sender=world.user)
        world.ledger.send("transferFund", world.second, name, 3 * COIN, sender=world.user)
    return made


@KINDS
def test_asks_back_what_is_there(
    ledger: Contract, world: World, user: str, provider: str, second: str, both: dict[str, Service], kind: str
) -> None:
    done = ledger.send("retrieveFund", [provider, second], kind, sender=user)
    assert done.events == []
    assert [both[kind].ask("account", user, one)["pending"] for one in (provider, second)] == [4 * COIN, 3 * COIN]
    assert (world.available(user), world.total(user)) == (6 * COIN, 20 * COIN)


@KINDS
def test_takes_home_what_is_due(
    ledger: Contract, world: World, user: str, provider: str, second: str, both: dict[str, Service], kind: str
) -> None:
    ledger.send("retrieveFund", [provider, second], kind, sender=user)
    world.evm.time += DAY - 1
    assert ledger.send("retrieveFund", [provider, second], kind, sender=user).events == []
    world.evm.time += 1
    done = ledger.send("retrieveFund", [provider, second], kind, sender=user)
    assert done.events == [
        event("FundsRetrieved", user=user, service=both[kind].address, amount=7 * COIN, availableBalance=13 * COIN)
    ]
    assert (world.available(user), world.total(user)) == (13 * COIN, 20 * COIN)


@KINDS
@pytest.mark.usefixtures("both")
def test_processes_first_and_asks_for_the_rest(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    ledger.send("retrieveFund", [provider], kind, sender=user)
    world.evm.time += DAY
    ledger.send("transferFund", provider, kind, 4 * COIN + 5, sender=user)  # 4 cancelled, 5 wei moved
    ledger.send("retrieveFund", [provider], kind, sender=user)
    assert both[kind].ask("account", user, provider)["pending"] == 4 * COIN + 5
    assert world.available(user) == 6 * COIN - 5


@KINDS
@pytest.mark.usefixtures("both")
def test_a_provider_listed_twice_is_processed_twice(
    ledger: Contract, world: World, user: str, provider: str, kind: str
) -> None:
    ledger.send("retrieveFund", [provider, provider], kind, sender=user)
    world.evm.time += DAY
    done = ledger.send("retrieveFund", [provider, provider], kind, sender=user)
    assert done.named("FundsRetrieved")[0]["amount"] == 4 * COIN
    assert world.available(user) == 10 * COIN


@KINDS
def test_providers_without_an_account_are_skipped(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    others = [world.evm.account(f"provider {i}") for i in range(2)]
    ledger.send("retrieveFund", [others[0], provider, others[1]], kind, sender=user)
    assert both[kind].ask("account", user, provider)["pending"] == 4 * COIN
    assert not both[kind].ask("account", user, others[0])["exists"]


@KINDS
@pytest.mark.usefixtures("both")
def test_nobody_to_ask_is_allowed(ledger: Contract, user: str, kind: str) -> None:
    assert ledger.send("retrieveFund", [], kind, sender=user).events == []


@pytest.mark.parametrize("count", [21, 64])
def test_refuses_more_than_twenty_first(ledger: Contract, stranger: str, provider: str, count: int) -> None:
    assert ledger.refused("retrieveFund", [provider] * count, "nothing", sender=stranger) == error(
        "TooManyProviders", requested=count, maximum=20
    )


def test_needs_a_service_second(ledger: Contract, stranger: str, provider: str) -> None:
    assert ledger.refused("retrieveFund", [provider] * 20, "nothing", sender=stranger) == error(
        "ServiceNotFound", serviceAddress=NOBODY
    )


@pytest.mark.usefixtures("service")
def test_needs_a_ledger_third(ledger: Contract, stranger: str, provider: str) -> None:
    assert ledger.refused("retrieveFund", [provider], "others-v1", sender=stranger) == error(
        "LedgerNotExists", user=stranger
    )


@KINDS
def test_twenty_providers_at_once(
    ledger: Contract, world: World, user: str, both: dict[str, Service], kind: str
) -> None:
    ledger.send("depositFund", sender=user, value=20 * COIN)
    providers = [world.evm.account(f"provider {i}") for i in range(20)]
    for one in providers:
        ledger.send("transferFund", one, kind, COIN, sender=user)
    ledger.send("retrieveFund", providers, kind, sender=user)
    world.evm.time += DAY
    done = ledger.send("retrieveFund", providers, kind, sender=user)
    assert done.named("FundsRetrieved") == [
        {"user": user, "service": both[kind].address, "amount": 20 * COIN, "availableBalance": 26 * COIN}
    ]


@KINDS
def test_takes_only_the_callers_money(
    ledger: Contract, world: World, user: str, stranger: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    world.open(stranger)
    ledger.send("transferFund", provider, kind, 5 * COIN, sender=stranger)
    for _ in range(2):
        ledger.send("retrieveFund", [provider], kind, sender=stranger)
        world.evm.time += DAY
    assert world.available(stranger) == 10 * COIN
    assert both[kind].ask("account", user, provider)["balance"] == 4 * COIN
    assert world.available(user) == 6 * COIN


@pytest.mark.usefixtures("both")
def test_each_service_gives_back_its_own(ledger: Contract, world: World, user: str, provider: str) -> None:
    for name in ("others-v1", "native-v1"):
        ledger.send("retrieveFund", [provider], name, sender=user)
    world.evm.time += DAY
    ledger.send("retrieveFund", [provider], "native-v1", sender=user)
    assert (world.available(user), world.total(user)) == (10 * COIN, 20 * COIN)


def test_refuses_more_than_it_can_count(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service]
) -> None:
    service = both["native-v1"]
    world.evm.set_balance(service.address, 2**97)
    service.script("processRefund(address,address)", coins=2**96, answer=(2**96).to_bytes(32, "big") + bytes(64))
    assert ledger.refused("retrieveFund", [provider], service.name, sender=user) == error(
        "AmountTooLarge", amount=2**96 + 6 * COIN, max=2**96 - 1
    )


def test_a_service_without_a_book_is_asked_for_everything_whatever_it_says_is_left(
    ledger: Contract, user: str, provider: str, both: dict[str, Service]
) -> None:
    both["others-v1"].script("processRefund(address,address)", answer=bytes(64))
    ledger.send("retrieveFund", [provider], "others-v1", sender=user)
    assert both["others-v1"].ask("account", user, provider)["pending"] == 4 * COIN


@pytest.mark.parametrize("length", [0, 63])
def test_an_answer_that_is_too_short_says_nothing_is_left(
    ledger: Contract, user: str, provider: str, both: dict[str, Service], length: int
) -> None:
    both["native-v1"].script("processRefund(address,address)", answer=b"\0" * length)
    both["native-v1"].script("requestRefundAll(address,address)", mode=REVERT)
    assert ledger.send("retrieveFund", [provider], "native-v1", sender=user).events == []


def test_a_service_with_a_book_is_not_asked_for_what_is_not_there(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service]
) -> None:
    ledger.send("retrieveFund", [provider], "native-v1", sender=user)
    world.evm.time += DAY
    both["native-v1"].script("requestRefundAll(address,address)", mode=REVERT)
    ledger.send("retrieveFund", [provider], "native-v1", sender=user)
    assert world.available(user) == 10 * COIN


def test_the_ledger_may_be_full_again(ledger: Contract, world: World, user: str, provider: str) -> None:
    world.service("native-v1", native=True)
    world.evm.set_balance(user, 2**97)
    world.open(user, 2**96 - 1)
    ledger.send("transferFund", provider, "native-v1", COIN, sender=user)
    ledger.send("retrieveFund", [provider], "native-v1", sender=user)
    world.evm.time += DAY
    ledger.send("retrieveFund", [provider], "native-v1", sender=user)
    assert world.available(user) == 2**96 - 1
