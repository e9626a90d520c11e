# SPDX-License-Identifier: Apache-2.0
"""transferFund, to services that keep no account book and to those that do"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import MIN_TRANSFER, REVERT, Service, World

KINDS = pytest.mark.parametrize("kind", ["others-v1", "native-v1"])
NOBODY = "0x" + 40 * "0"


@pytest.fixture
def both(world: World) -> dict[str, Service]:
    """A service of either kind, by name."""
    return {"others-v1": world.service(), "native-v1": world.service("native-v1", native=True)}


@KINDS
def test_opens_an_account(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    world.open(user, info="who I am")
    done = ledger.send("transferFund", provider, kind, 4 * COIN, sender=user)
    assert done.result is None
    assert done.events == [
        event(
            "FundsTransferred",
            user=user,
            provider=provider,
            service=both[kind].address,
            amount=4 * COIN,
            cancelledRefund=0,
        )
    ]
    account = both[kind].ask("account", user, provider)
    assert (account["balance"], account["info"]) == (4 * COIN, "who I am")
    assert world.evm.balance(both[kind].address) == 1004 * COIN
    assert (world.available(user), world.total(user)) == (6 * COIN, 10 * COIN)
    assert world.providers(user, kind) == [provider]


@KINDS
@pytest.mark.usefixtures("opened")
def test_adds_to_an_account(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    ledger.send("transferFund", provider, kind, 4 * COIN, sender=user)
    done = ledger.send("transferFund", provider, kind, 1, sender=user)
    assert done.named("FundsTransferred")[0]["amount"] == 1
    assert both[kind].ask("account", user, provider)["balance"] == 4 * COIN + 1
    assert (world.available(user), world.total(user)) == (6 * COIN - 1, 10 * COIN)
    assert world.providers(user, kind) == [provider]


@KINDS
@pytest.mark.usefixtures("opened")
def test_nothing_to_an_account_is_allowed(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    ledger.send("transferFund", provider, kind, 10 * COIN, sender=user)
    done = ledger.send("transferFund", provider, kind, 0, sender=user)
    assert done.named("FundsTransferred")[0]["amount"] == 0
    assert both[kind].ask("account", user, provider)["balance"] == 10 * COIN
    assert world.available(user) == 0


@KINDS
@pytest.mark.parametrize(("amount", "cancelled", "moved"), [(1, 1, 0), (4, 4, 0), (5, 4, 1), (0, 0, 0)])
@pytest.mark.usefixtures("opened")
def test_keeps_what_was_asked_back_first(
    ledger: Contract,
    world: World,
    user: str,
    provider: str,
    both: dict[str, Service],
    kind: str,
    amount: int,
    cancelled: int,
    moved: int,
) -> None:
    ledger.send("transferFund", provider, kind, 4 * COIN, sender=user)
    ledger.send("retrieveFund", [provider], kind, sender=user)
    done = ledger.send("transferFund", provider, kind, amount * COIN, sender=user)
    assert done.events == [
        event(
            "FundsTransferred",
            user=user,
            provider=provider,
            service=both[kind].address,
            amount=moved * COIN,
            cancelledRefund=cancelled * COIN,
        )
    ]
    account = both[kind].ask("account", user, provider)
    assert account["balance"] == (4 + moved) * COIN
    assert account["pending"] == (4 - cancelled) * COIN
    assert (world.available(user), world.total(user)) == ((6 - moved) * COIN, 10 * COIN)


@KINDS
@pytest.mark.usefixtures("opened", "both")
def test_what_is_cancelled_needs_no_coins(ledger: Contract, user: str, provider: str, kind: str) -> None:
    ledger.send("transferFund", provider, kind, 10 * COIN, sender=user)
    ledger.send("retrieveFund", [provider], kind, sender=user)
    ledger.send("transferFund", provider, kind, 10 * COIN, sender=user)
    assert ledger.refused("transferFund", provider, kind, 1, sender=user) == error(
        "InsufficientAvailableBalance", available=0, required=1
    )


def test_needs_a_ledger_first(ledger: Contract, stranger: str, provider: str) -> None:
    assert ledger.refused("transferFund", provider, "nothing", 0, sender=stranger) == error(
        "LedgerNotExists", user=stranger
    )


@pytest.mark.usefixtures("opened", "service")
@pytest.mark.parametrize("name", ["nothing", "", "others", "others-v10", "x" * 193])
def test_needs_a_service_second(ledger: Contract, user: str, provider: str, name: str) -> None:
    assert ledger.refused("transferFund", provider, name, 0, sender=user) == error(
        "ServiceNotFound", serviceAddress=NOBODY
    )


@KINDS
@pytest.mark.usefixtures("opened", "both")
def test_a_new_account_needs_the_minimum_third(ledger: Contract, user: str, provider: str, kind: str) -> None:
    assert ledger.refused("transferFund", provider, kind, MIN_TRANSFER - 1, sender=user) == error(
        "MinimumDepositRequired", provided=MIN_TRANSFER - 1, required=MIN_TRANSFER
    )
    ledger.send("transferFund", provider, kind, MIN_TRANSFER, sender=user)


@KINDS
@pytest.mark.usefixtures("both")
def test_the_fifty_first_account_is_refused_fourth(ledger: Contract, world: World, user: str, kind: str) -> None:
    world.open(user, 60 * COIN)
    providers = [world.evm.account(f"provider {i}") for i in range(51)]
    for one in providers[:50]:
        ledger.send("transferFund", one, kind, MIN_TRANSFER, sender=user)
    assert world.providers(user, kind) == providers[:50]
    full = error("TooManyProvidersForService", current=50, maximum=50)
    assert ledger.refused("transferFund", providers[50], kind, 1000 * COIN, sender=user) == full
    assert ledger.refused("transferFund", providers[50], kind, MIN_TRANSFER - 1, sender=user) == error(
        "MinimumDepositRequired", provided=MIN_TRANSFER - 1, required=MIN_TRANSFER
    )
    ledger.send("transferFund", providers[0], kind, 1, sender=user)
    ledger.send("transferFund", providers[49], kind, 1, sender=user)


@KINDS
@pytest.mark.usefixtures("opened")
def test_needs_enough_available_last_and_before_the_service_is_called(
    ledger: Contract, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    both[kind].script("addAccount(address,address,string)", mode=2, answer=b"called")
    refused = error("InsufficientAvailableBalance", available=10 * COIN, required=10 * COIN + 1)
    assert ledger.refused("transferFund", provider, kind, 10 * COIN + 1, sender=user) == refused
    both[kind].script("addAccount(address,address,string)")
    ledger.send("transferFund", provider, kind, 10 * COIN, sender=user)


@pytest.mark.usefixtures("opened")
def test_an_account_that_the_ledger_has_not_listed_is_listed(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    service.send("force", user, provider, True, sender=provider)
    assert world.providers(user) == []
    ledger.send("transferFund", provider, service.name, 1, sender=user)
    assert world.providers(user) == [provider]
    assert world.total(user) == 10 * COIN


def test_an_unlisted_account_counts_towards_the_limit(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    world.open(user, 60 * COIN)
    for i in range(50):
        ledger.send("transferFund", world.evm.account(f"provider {i}"), service.name, MIN_TRANSFER, sender=user)
    service.send("force", user, provider, True, sender=provider)
    assert ledger.refused("transferFund", provider, service.name, 1, sender=user) == error(
        "TooManyProvidersForService", current=50, maximum=50
    )


@pytest.mark.usefixtures("opened")
def test_money_with_an_account_that_a_native_service_claims_is_counted(
    ledger: Contract, world: World, user: str, provider: str, native: Service
) -> None:
    """The ledger never opened this account; what moves there must be asked for all the same."""
    native.send("force", user, provider, True, sender=provider)
    ledger.send("transferFund", provider, native.name, 4 * COIN, sender=user)
    assert world.total(user) == 10 * COIN
    ledger.send("refundAll", sender=user)
    assert world.total(user) == 4 * COIN


@pytest.mark.usefixtures("opened")
def test_an_account_gone_without_the_ledger_is_opened_again_and_listed_once(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    ledger.send("transferFund", provider, service.name, COIN, sender=user)
    service.send("settle", user, provider, COIN, sender=provider)
    service.send("force", user, provider, False, sender=provider)
    ledger.send("transferFund", provider, service.name, 2 * COIN, sender=user)
    assert world.providers(user) == [provider]
    assert world.total(user) == 9 * COIN


@KINDS
@pytest.mark.usefixtures("opened", "both")
def test_moves_only_the_callers_money(
    ledger: Contract, world: World, user: str, stranger: str, provider: str, kind: str
) -> None:
    world.open(stranger)
    ledger.send("transferFund", provider, kind, 4 * COIN, sender=user)
    assert (world.available(stranger), world.total(stranger)) == (10 * COIN, 10 * COIN)


@KINDS
def test_a_long_info_reaches_the_service(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    world.open(user, info="i" * 4096)
    ledger.send("transferFund", provider, kind, COIN, sender=user)
    assert both[kind].ask("account", user, provider)["info"] == "i" * 4096


def test_a_service_without_a_book_is_not_asked_for_it(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service]
) -> None:
    world.open(user)
    for question in ("providerCount(address)", "providersOf(address)", "lockedBalance(address)"):
        both["others-v1"].script(question, mode=REVERT)
    ledger.send("transferFund", provider, "others-v1", 2 * COIN, sender=user)
    assert world.providers(user) == [provider]
    assert world.total(user) == 10 * COIN


@KINDS
@pytest.mark.usefixtures("both")
def test_accounts_that_are_gone_do_not_count_towards_the_limit(
    ledger: Contract, world: World, user: str, provider: str, both: dict[str, Service], kind: str
) -> None:
    world.open(user, 60 * COIN)
    for number in range(50):
        one = world.evm.account(f"provider {number}")
        ledger.send("transferFund", one, kind, MIN_TRANSFER, sender=user)
        both[kind].send("settle", user, one, MIN_TRANSFER, sender=one)
    ledger.send("refundAll", sender=user)
    world.open(user)
    ledger.send("transferFund", provider, kind, MIN_TRANSFER, sender=user)
    assert world.providers(user, kind) == [provider]
