# SPDX-License-Identifier: Apache-2.0
"""No answer of a service lets a user's money be lost, counted twice or locked up.

Every question of the ledger is answered wrongly in every way, for services that keep the account book ("native") and
for those that do not.
"""

from __future__ import annotations

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import (
    BOMB_SIZE,
    DAY,
    ENDLESS,
    REVERT,
    REVERT_BOMB,
    Service,
    World,
    word,
)

# What a question can be answered with, when nothing true.
SILENCE = {
    "nothing": {"answer": b""},
    "a byte": {"answer": b"\1"},
    "31 bytes": {"answer": bytes(31)},
    "revert": {"mode": REVERT},
    "revert with words": {"mode": REVERT, "answer": b"no"},
    "revert bomb": {"mode": REVERT_BOMB},
    "endless": {"mode": ENDLESS},
}
ABSURD = {"2^96": {"answer": word(2**96)}, "2^256 - 1": {"answer": word(2**256 - 1)}}
SILENT = pytest.mark.parametrize("lie", SILENCE.values(), ids=SILENCE)
NOT_A_NUMBER = pytest.mark.parametrize("lie", [*SILENCE.values(), *ABSURD.values()], ids=[*SILENCE, *ABSURD])


@pytest.fixture
def invested(world: World, native: Service) -> Service:
    """The user has 4 coins with a provider in a service that keeps the book, and 6 available."""
    world.open(world.user)
    world.ledger.send("transferFund", world.provider, native.name, 4 * COIN, sender=world.user)
    return native


# Views


@NOT_A_NUMBER
def test_views_count_what_is_not_answered_as_nothing(
    ledger: Contract, world: World, user: str, invested: Service, lie: dict[str, bytes | int]
) -> None:
    invested.script("lockedBalance(address)", **lie)  # type: ignore[arg-type]
    assert (world.available(user), world.total(user)) == (6 * COIN, 6 * COIN)
    page, _ = ledger.ask("getAllLedgers", 0, 0)
    assert page == [ledger.ask("getLedger", user)]


def test_the_largest_amount_is_an_answer(world: World, user: str, invested: Service) -> None:
    invested.script("lockedBalance(address)", answer=word(2**96 - 1))
    assert world.total(user) == 6 * COIN + 2**96 - 1


@pytest.mark.local_evm
def test_a_view_that_runs_out_of_gas_says_so_and_not_a_wrong_total(
    ledger: Contract, user: str, invested: Service
) -> None:
    invested.script("lockedBalance(address)", waste=430_000)
    data = ledger.interface.encode("getLedger", user)
    answers = [ledger.evm.view(ledger.address, data, sender=user, gas=gas) for gas in range(460_000, 560_000, 2_000)]
    totals = [ledger.interface.decode_result("getLedger", one.output)["totalBalance"] for one in answers if one.success]
    assert 5 < len(totals) < 50
    assert set(totals) == {10 * COIN}


@pytest.mark.local_evm
def test_a_list_that_runs_out_of_gas_says_so_and_is_not_empty(
    ledger: Contract, user: str, provider: str, invested: Service
) -> None:
    invested.script("providersOf(address)", waste=430_000)
    data = ledger.interface.encode("getLedgerProviders", user, invested.name)
    answers = [ledger.evm.view(ledger.address, data, sender=user, gas=gas) for gas in range(380_000, 500_000, 4_000)]
    lists = [ledger.interface.decode_result("getLedgerProviders", one.output) for one in answers if one.success]
    assert 5 < len(lists) < 25
    assert all(one == [provider] for one in lists)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"", []),
        (bytes(63), []),
        (word(32) + word(0), []),
        (word(32) + word(1), []),
        (word(32) + word(2**256 - 1), []),
        (word(32) + word(1) + bytes(31), []),
        (word(2**255) + word(1) + word(7), ["0x0000000000000000000000000000000000000007"]),
        (word(32) + word(2**256 - 1) + word(7), ["0x0000000000000000000000000000000000000007"]),
        (word(32) + word(1) + word(2**160 + 7), ["0x0000000000000000000000000000000000000007"]),
        (word(32) + word(60) + 60 * word(7), 50 * ["0x0000000000000000000000000000000000000007"]),
    ],
    ids=[
        "nothing",
        "too short",
        "empty",
        "one missing",
        "all missing",
        "one cut",
        "wild offset",
        "wild length",
        "dirty address",
        "too many",
    ],
)
def test_malformed_lists_of_providers_are_read_with_care(
    ledger: Contract, world: World, user: str, invested: Service, answer: bytes, found: list[str]
) -> None:
    invested.script("providersOf(address)", answer=answer)
    assert world.providers(user, invested.name) == found
    invested.script("lockedBalance(address)", answer=word(0))
    ledger.send("refundAll", sender=user)
    assert ledger.refused("getLedger", user, sender=user) == error("LedgerNotExists", user=user)


# Leaving


@NOT_A_NUMBER
def test_refund_pays_though_a_service_does_not_answer_and_keeps_the_ledger(
    ledger: Contract, world: World, user: str, invested: Service, lie: dict[str, bytes | int]
) -> None:
    invested.script("lockedBalance(address)", **lie)  # type: ignore[arg-type]
    before = world.evm.balance(user)
    done = ledger.send("refund", 6 * COIN, sender=user)
    assert done.events == [event("Refunded", user=user, amount=6 * COIN, availableBalance=0)]
    assert world.evm.balance(user) == before + 6 * COIN
    assert ledger.refused("deleteLedger", sender=user) == error("ServiceNotAnswering", service=invested.address)

    invested.script("lockedBalance(address)")
    assert world.total(user) == 4 * COIN


@SILENT
@pytest.mark.parametrize("question", ["providersOf(address)", "providerCount(address)"])
def test_an_account_that_nobody_says_is_gone_is_asked_for_again(
    ledger: Contract, world: World, user: str, invested: Service, question: str, lie: dict[str, bytes | int]
) -> None:
    invested.script("lockedBalance(address)", answer=word(0))
    invested.script("deleteAccount(address,address)", mode=REVERT)
    invested.script(question, **lie)  # type: ignore[arg-type]
    done = ledger.send("refundAll", sender=user)
    assert done.named("LedgerDeleted") == [{"user": user}]
    invested.script("lockedBalance(address)")
    world.open(user)
    assert world.total(user) == 14 * COIN


@pytest.mark.parametrize("kind", ["service", "native"])
@pytest.mark.parametrize(
    "lie",
    [{"mode": REVERT}, {"mode": REVERT_BOMB}, {"mode": ENDLESS}, {"answer": b"done"}],
    ids=str,
)
def test_deletion_goes_on_whatever_a_service_does(
    ledger: Contract,
    world: World,
    user: str,
    provider: str,
    kind: str,
    lie: dict[str, bytes | int],
    request: pytest.FixtureRequest,
) -> None:
    service: Service = request.getfixturevalue(kind)
    good = world.service("good-v1", native=True)
    world.open(user)
    for one in (service, good):
        ledger.send("transferFund", provider, one.name, 2 * COIN, sender=user)
    for _ in range(2):
        for one in (service, good):
            ledger.send("retrieveFund", [provider], one.name, sender=user)
        world.evm.time += DAY
    service.script("deleteAccount(address,address)", **lie)  # type: ignore[arg-type]
    done = ledger.send("refund", 10 * COIN, sender=user)
    assert done.named("LedgerDeleted") == [{"user": user}]
    assert world.providers(user, service.name) == [provider]
    assert world.providers(user, good.name) == []


@pytest.mark.parametrize("native", [False, True])
def test_leaving_stays_possible_with_fifty_accounts_in_a_service_that_wastes_gas(
    ledger: Contract, world: World, user: str, native: bool
) -> None:
    service = world.service("greedy-v1", native=native)
    providers = [world.evm.account(f"provider {i}") for i in range(50)]
    world.open(user, 60 * COIN)
    for one in providers:
        ledger.send("transferFund", one, service.name, COIN, sender=user)
    for start in (0, 20, 40):
        ledger.send("retrieveFund", providers[start : start + 20], service.name, sender=user)
    world.evm.time += DAY
    for start in (0, 20, 40):
        ledger.send("retrieveFund", providers[start : start + 20], service.name, sender=user)
    assert world.available(user) == 60 * COIN
    service.script("lockedBalance(address)", waste=200_000)
    service.script("deleteAccount(address,address)", waste=100_000)
    service.script("accountExists(address,address)", waste=400_000)
    service.script("providersOf(address)", waste=300_000)
    done = ledger.send("refundAll", sender=user, gas=14_000_000)
    assert done.named("Refunded") == [{"user": user, "amount": 60 * COIN, "availableBalance": 0}]
    assert done.named("LedgerDeleted") == [{"user": user}]
    left = len(world.providers(user, service.name))
    assert left == 0 if native else 0 < left < 50


def test_leaving_stays_possible_with_forty_services_that_never_answer(
    ledger: Contract, world: World, user: str, provider: str
) -> None:
    services = [world.service(f"silent-v{i}", native=True) for i in range(40)]
    world.open(user, 60 * COIN)
    for one in services:
        ledger.send("transferFund", provider, one.name, COIN, sender=user)
        one.script("lockedBalance(address)", mode=ENDLESS)
    before = world.evm.balance(user)
    done = ledger.send("refundAll", sender=user, gas=14_000_000)
    assert done.events == [event("Refunded", user=user, amount=20 * COIN, availableBalance=0)]
    assert world.evm.balance(user) == before + 20 * COIN


def test_a_greedy_service_costs_its_own_users_only(
    ledger: Contract, world: World, user: str, stranger: str, provider: str, invested: Service
) -> None:
    invested.script("lockedBalance(address)", mode=ENDLESS)
    world.open(stranger)
    other = world.service("good-v1", native=True)
    ledger.send("transferFund", provider, other.name, COIN, sender=stranger)
    assert ledger.send("refundAll", sender=stranger).gas_used < 100_000
    assert world.total(user) == 6 * COIN


def test_leaving_a_service_that_answers_with_bombs(
    ledger: Contract, world: World, user: str, invested: Service
) -> None:
    """100 KB of zeros say that nothing is held, that nobody is there, and that everything is deleted."""
    invested.answer_with_bombs()
    assert (world.total(user), world.providers(user, invested.name)) == (6 * COIN, [])
    done = ledger.send("refundAll", sender=user, gas=1_000_000)
    assert done.named("LedgerDeleted") == [{"user": user}]


# Transfers


def test_transferring_to_a_service_that_answers_with_bombs(
    ledger: Contract, world: World, user: str, provider: str, invested: Service
) -> None:
    invested.answer_with_bombs()
    ledger.send("transferFund", provider, invested.name, COIN, sender=user, gas=1_000_000)
    assert world.available(user) == 5 * COIN


@pytest.mark.parametrize("kind", ["service", "native"])
@pytest.mark.parametrize("function", ["addAccount(address,address,string)", "depositFund(address,address,uint256)"])
def test_a_services_reason_is_passed_on(
    ledger: Contract, world: World, user: str, provider: str, kind: str, function: str, request: pytest.FixtureRequest
) -> None:
    service: Service = request.getfixturevalue(kind)
    world.open(user)
    if function.startswith("deposit"):
        ledger.send("transferFund", provider, service.name, COIN, sender=user)
    available = world.available(user)
    data = ledger.interface.encode("transferFund", provider, service.name, COIN)

    for reason in (b"x", b"four", bytes(range(100)), bytes(2048)):
        service.script(function, mode=REVERT, answer=reason)
        outcome = world.evm.send(ledger.address, data, sender=user)
        assert (outcome.success, outcome.output) == (False, reason)
    service.script(function, mode=REVERT_BOMB)
    outcome = world.evm.send(ledger.address, data, sender=user)
    assert (outcome.success, outcome.output) == (False, bytes(BOMB_SIZE))
    service.script(function, mode=REVERT)
    assert ledger.refused("transferFund", provider, service.name, COIN, sender=user) == error("CallFailed")
    service.script(function, mode=ENDLESS)
    assert ledger.refused("transferFund", provider, service.name, COIN, sender=user) == error("CallFailed")
    assert world.available(user) == available


@pytest.mark.parametrize("function", ["addAccount(address,address,string)", "depositFund(address,address,uint256)"])
@pytest.mark.parametrize("lie", [{"answer": b"garbage"}, {"answer": bytes(2048)}], ids=["garbage", "zeros"])
def test_an_answer_that_nobody_asked_for_is_ignored(
    ledger: Contract,
    world: World,
    user: str,
    provider: str,
    native: Service,
    function: str,
    lie: dict[str, bytes | int],
) -> None:
    world.open(user)
    if function.startswith("deposit"):
        ledger.send("transferFund", provider, native.name, COIN, sender=user)
    available = world.available(user)
    native.script(function, **lie)  # type: ignore[arg-type]
    ledger.send("transferFund", provider, native.name, COIN, sender=user)
    assert world.available(user) == available - COIN


@SILENT
@pytest.mark.parametrize("question", ["accountExists(address,address)", "getPendingRefund(address,address)"])
@pytest.mark.usefixtures("opened")
def test_transfers_need_the_answers_of_a_service_without_a_book(
    ledger: Contract,
    world: World,
    user: str,
    provider: str,
    service: Service,
    question: str,
    lie: dict[str, bytes | int],
) -> None:
    ledger.send("transferFund", provider, service.name, COIN, sender=user)
    service.script(question, **lie)  # type: ignore[arg-type]
    outcome = world.evm.send(
        ledger.address, ledger.interface.encode("transferFund", provider, service.name, 0), sender=user
    )
    assert not outcome.success
    if lie.get("mode") == REVERT_BOMB:
        assert outcome.output == bytes(BOMB_SIZE)
    elif lie.get("mode") == REVERT and lie.get("answer"):
        assert outcome.output == lie["answer"]
    else:
        assert ledger.interface.decode_error(outcome.output) == error("CallFailed")
    assert world.available(user) == 9 * COIN


@SILENT
@pytest.mark.usefixtures("opened")
def test_a_native_service_that_does_not_count_opens_no_account(
    ledger: Contract, world: World, user: str, provider: str, native: Service, lie: dict[str, bytes | int]
) -> None:
    native.script("providerCount(address)", **lie)  # type: ignore[arg-type]
    outcome = world.evm.send(
        ledger.address, ledger.interface.encode("transferFund", provider, native.name, COIN), sender=user
    )
    assert not outcome.success
    assert world.available(user) == 10 * COIN


@pytest.mark.parametrize("count", [50, 51, 2**256 - 1])
@pytest.mark.usefixtures("opened")
def test_a_native_service_may_count_as_many_as_it_likes(
    ledger: Contract, user: str, provider: str, native: Service, count: int
) -> None:
    native.script("providerCount(address)", answer=word(count))
    assert ledger.refused("transferFund", provider, native.name, COIN, sender=user) == error(
        "TooManyProvidersForService", current=count, maximum=50
    )


@pytest.mark.parametrize("kind", ["service", "native"])
@pytest.mark.parametrize("pending", [5 * COIN, 2**256 - 1])
@pytest.mark.usefixtures("opened")
def test_a_huge_pending_refund_moves_nothing(
    ledger: Contract, world: World, user: str, provider: str, kind: str, pending: int, request: pytest.FixtureRequest
) -> None:
    service: Service = request.getfixturevalue(kind)
    ledger.send("transferFund", provider, service.name, COIN, sender=user)
    service.script("getPendingRefund(address,address)", answer=word(pending))
    service.script("depositFund(address,address,uint256)", answer=b"")
    done = ledger.send("transferFund", provider, service.name, 5 * COIN, sender=user)
    assert done.named("FundsTransferred")[0]["amount"] == 0
    assert done.named("FundsTransferred")[0]["cancelledRefund"] == 5 * COIN
    assert world.available(user) == 9 * COIN


@pytest.mark.usefixtures("opened")
def test_a_service_that_denies_an_account_gets_no_coins_for_it(
    ledger: Contract, world: World, user: str, provider: str, native: Service
) -> None:
    ledger.send("transferFund", provider, native.name, COIN, sender=user)
    native.script("getPendingRefund(address,address)", mode=REVERT)
    refused = ledger.evm.send(
        ledger.address, ledger.interface.encode("transferFund", provider, native.name, COIN), sender=user
    )
    assert not refused.success
    assert b"there is an account" in refused.output
    assert world.available(user) == 9 * COIN
