# SPDX-License-Identifier: Apache-2.0
"""A call into the ledger from inside of another: for the same user it is refused, for others it works, and nothing is
counted twice.

The user is a contract; a service or the coins it receives make it call again.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import DAY, Service, Wallet, World, reason

# Every call on a user's ledger, by the user.
OWN = [
    ("addLedger", ("",), 3 * COIN),
    ("updateAdditionalInfo", ("",), 0),
    ("depositFund", (), COIN),
    ("refund", (0,), 0),
    ("refundAll", (), 0),
    ("deleteLedger", (), 0),
    ("transferFund", ("provider", "native-v1", COIN), 0),
    ("transferFund", ("provider", "nothing", COIN), 0),
    ("retrieveFund", (["provider"], "native-v1"), 0),
]
# The functions of a service, and what the ledger is asked so that it calls them.
FUNCTIONS = [
    "addAccount(address,address,string)",
    "depositFund(address,address,uint256)",
    "processRefund(address,address)",
    "requestRefundAll(address,address)",
    "deleteAccount(address,address)",
]


@pytest.fixture
def wallet(world: World) -> Wallet:
    """A user that is a contract, with 10 coins in its ledger."""
    made = world.wallet()
    made.act(world.ledger, "depositFund", coins=10 * COIN)
    return made


def named(args: Any, world: World) -> Any:
    """Arguments with the provider's address in its place."""
    if isinstance(args, tuple | list):
        return [named(one, world) for one in args]
    return world.provider if args == "provider" else args


def provoke(world: World, wallet: Wallet, service: Service, function: str) -> None:
    """Make the ledger call `function` for the wallet."""
    ledger, provider = world.ledger, world.provider
    if function.startswith("addAccount"):
        wallet.act(ledger, "transferFund", provider, service.name, COIN)
    elif function.startswith("depositFund"):
        wallet.act(ledger, "transferFund", provider, service.name, 0)
    elif function.startswith("deleteAccount"):
        wallet.act(ledger, "refundAll")
    else:
        wallet.act(ledger, "retrieveFund", [provider], service.name)


def prepare(world: World, wallet: Wallet, service: Service, function: str) -> None:
    """Bring the wallet where `provoke` works."""
    ledger, provider = world.ledger, world.provider
    if function.startswith("addAccount"):
        return
    wallet.act(ledger, "transferFund", provider, service.name, 4 * COIN)
    if function.startswith("deleteAccount"):
        for _ in range(2):
            wallet.act(ledger, "retrieveFund", [provider], service.name)
            world.evm.time += DAY


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", ["service", "native"])
def test_a_service_cannot_reenter_for_the_same_user(
    world: World, wallet: Wallet, function: str, kind: str, request: pytest.FixtureRequest
) -> None:
    service: Service = request.getfixturevalue(kind)
    request.getfixturevalue("native")
    ledger = world.ledger
    prepare(world, wallet, service, function)
    other = world.wallet()
    calls = [wallet.through(ledger, name, *named(args, world), coins=coins) for name, args, coins in OWN]
    calls.append(other.through(ledger, "depositFundFor", wallet.address, coins=COIN))
    calls.append((service.address, service.interface.encode("report", wallet.address, 0)))
    for index, call in enumerate(calls):
        with world.evm.rolled_back():
            service.script(function, calls=[call])
            provoke(world, wallet, service, function)
            succeeded, answer = service.outcome(0)
            assert not succeeded
            assert reason(answer, ledger) == error("LedgerLocked"), index


@pytest.mark.parametrize("function", FUNCTIONS[:-1])
def test_a_service_may_act_for_other_users(world: World, wallet: Wallet, native: Service, function: str) -> None:
    """What happens to other ledgers, from inside of the wallet's call, counts once and fully."""
    ledger, provider = world.ledger, world.provider
    prepare(world, wallet, native, function)
    others = world.service("others-v1")
    waiting, leaving, coming = world.wallet(), world.wallet(), world.wallet()
    waiting.act(ledger, "depositFund", coins=10 * COIN)
    leaving.act(ledger, "depositFund", coins=5 * COIN)
    waiting.act(ledger, "transferFund", provider, others.name, 2 * COIN)
    waiting.act(ledger, "retrieveFund", [provider], others.name)
    world.evm.time += DAY
    calls = [
        waiting.through(ledger, "retrieveFund", [provider], others.name),
        waiting.through(ledger, "refund", COIN),
        waiting.through(ledger, "transferFund", provider, others.name, COIN),
        leaving.through(ledger, "refundAll"),
        coming.through(ledger, "addLedger", "", coins=3 * COIN),
        coming.through(ledger, "updateAdditionalInfo", "here"),
    ]
    native.script(function, calls=calls, once=True)
    before = world.total(wallet.address)
    provoke(world, wallet, native, function)
    for index in range(len(calls)):
        assert native.outcome(index)[0], (index, reason(native.outcome(index)[1], ledger))
    native.scripted = False
    assert (world.available(waiting.address), world.total(waiting.address)) == (8 * COIN, 9 * COIN)
    assert ledger.refused("getLedger", leaving.address, sender=leaving.address) == error(
        "LedgerNotExists", user=leaving.address
    )
    assert world.available(coming.address) == 3 * COIN
    assert world.total(wallet.address) == before


@pytest.mark.parametrize("kind", ["service", "native"])
def test_a_deletion_inside_of_a_retrieval_does_not_spoil_the_list(
    ledger: Contract, world: World, kind: str, request: pytest.FixtureRequest
) -> None:
    """The first ledger is deleted while the last one retrieves: the last one takes its place, and keeps it."""
    service: Service = request.getfixturevalue(kind)
    first, last = world.wallet(), world.wallet()
    first.act(ledger, "depositFund", coins=10 * COIN)
    world.open(world.user)
    last.act(ledger, "depositFund", coins=10 * COIN)
    last.act(ledger, "transferFund", world.provider, service.name, 4 * COIN)
    last.act(ledger, "retrieveFund", [world.provider], service.name)
    world.evm.time += DAY
    service.script("processRefund(address,address)", calls=[first.through(ledger, "refundAll")])
    last.act(ledger, "retrieveFund", [world.provider], service.name)
    assert service.outcome(0)[0]
    assert [one["user"] for one in world.ledgers()] == [last.address, world.user]
    world.check_books()
    last.act(ledger, "refundAll")
    ledger.send("refundAll", sender=world.user)
    assert list(world.ledgers()) == []


def test_a_deletion_inside_of_a_transfer_does_not_spoil_the_list(
    ledger: Contract, world: World, native: Service
) -> None:
    first, last = world.wallet(), world.wallet()
    first.act(ledger, "depositFund", coins=10 * COIN)
    last.act(ledger, "depositFund", coins=10 * COIN)
    native.script("addAccount(address,address,string)", calls=[first.through(ledger, "refundAll")])
    last.act(ledger, "transferFund", world.provider, native.name, 4 * COIN)
    assert native.outcome(0)[0]
    assert [one["user"] for one in world.ledgers()] == [last.address]
    assert world.available(last.address) == 6 * COIN


def test_deletions_inside_of_a_deletion(ledger: Contract, world: World, native: Service) -> None:
    """While the first ledger's accounts are deleted, the ledger that took its place is deleted too."""
    wallets = [world.wallet() for _ in range(3)]
    for one in wallets:
        one.act(ledger, "depositFund", coins=10 * COIN)
    prepare(world, wallets[0], native, "deleteAccount(address,address)")
    native.script("deleteAccount(address,address)", calls=[wallets[2].through(ledger, "refundAll")], once=True)
    wallets[0].act(ledger, "refundAll")
    assert native.outcome(0)[0]
    assert [one["user"] for one in world.ledgers()] == [wallets[1].address]


@pytest.mark.parametrize(("name", "args"), [("refund", (10 * COIN,)), ("refund", (COIN,)), ("refundAll", ())])
@pytest.mark.parametrize(("again", "given", "coins"), OWN, ids=[f"{name} {args}" for name, args, _ in OWN])
def test_the_receiver_of_a_refund_cannot_reenter(
    world: World,
    wallet: Wallet,
    native: Service,
    name: str,
    args: tuple[int, ...],
    again: str,
    given: tuple[Any, ...],
    coins: int,
) -> None:
    ledger = world.ledger
    assert native.name == "native-v1"
    target, data = wallet.through(ledger, again, *named(given, world), coins=coins)
    wallet.send("on_coins", target, data, sender=wallet.address)
    before = world.evm.balance(wallet.address)
    amount = args[0] if args else 10 * COIN
    wallet.act(ledger, name, *args)
    assert not wallet.ask("succeeded")
    assert reason(wallet.ask("answer"), ledger) == error("LedgerLocked")
    assert world.evm.balance(wallet.address) == before + amount


def test_the_receiver_of_a_refund_may_deposit_for_others(world: World, wallet: Wallet) -> None:
    ledger = world.ledger
    target, data = wallet.through(ledger, "depositFundFor", world.stranger, coins=5 * COIN)
    wallet.send("on_coins", target, data, sender=wallet.address)
    wallet.act(ledger, "refundAll")
    assert wallet.ask("succeeded")
    assert world.available(world.stranger) == 5 * COIN


def test_two_calls_in_one_transaction_work(world: World, wallet: Wallet) -> None:
    """The lock is cleared at the end of the call, not of the transaction."""
    ledger, encode = world.ledger, world.ledger.interface.encode
    done = wallet.send(
        "execute_both",
        ledger.address,
        encode("refund", COIN),
        ledger.address,
        encode("refundAll"),
        sender=wallet.address,
    )
    assert [one.name for one in ledger.events_in(done.logs)] == ["Refunded", "Refunded", "LedgerDeleted"]


def test_a_service_that_is_a_user_pays_itself_only(ledger: Contract, world: World, native: Service) -> None:
    """A refund to a service is no retrieval: what the service sends back at once is nobody's."""
    deposit = ledger.interface.encode("depositFund")
    native.send("forward", deposit, 10 * COIN, sender=world.stranger)
    done = native.send("forward", ledger.interface.encode("refundAll"), 0, sender=world.stranger)
    assert ledger.events_in(done.logs)[0] == event(
        "Refunded", user=native.address, amount=10 * COIN, availableBalance=0
    )
