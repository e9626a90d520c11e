# SPDX-License-Identifier: Apache-2.0
"""Only what arrived from that service during that call is credited, and each coin once."""

from __future__ import annotations

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.ledger.world import BOMB_SIZE, DAY, ENDLESS, REVERT, REVERT_BOMB, Service, World, word

PROCESS = "processRefund(address,address)"
KINDS = pytest.mark.parametrize("kind", ["service", "native"])


@pytest.fixture
def asked(world: World, kind: str, request: pytest.FixtureRequest) -> Service:
    """The user has 4 coins with a provider, all asked back and due, and 6 available."""
    service: Service = request.getfixturevalue(kind)
    world.open(world.user)
    world.ledger.send("transferFund", world.provider, service.name, 4 * COIN, sender=world.user)
    world.ledger.send("retrieveFund", [world.provider], service.name, sender=world.user)
    world.evm.time += DAY
    return service


def answer(paid: int, balance: int = 0, pending: int = 0) -> bytes:
    return word(paid) + word(balance) + word(pending)


@KINDS
@pytest.mark.parametrize(
    ("coins", "said", "reported"),
    [
        (0, answer(1), 1),
        (0, answer(2**256 - 1), 2**256 - 1),
        (4 * COIN, answer(4 * COIN - 1), 4 * COIN - 1),
        (4 * COIN, answer(4 * COIN + 1), 4 * COIN + 1),
        (4 * COIN, answer(0), 0),
        (4 * COIN, b"", 0),
        (4 * COIN, word(4 * COIN), 0),
        (4 * COIN, (word(4 * COIN) + word(0))[:63], 0),
    ],
    ids=["1 wei unpaid", "all unpaid", "1 wei more", "1 wei less", "unreported", "silent", "1 word", "63 bytes"],
)
def test_a_report_that_differs_from_what_arrived_is_refused(
    ledger: Contract, world: World, user: str, provider: str, asked: Service, coins: int, said: bytes, reported: int
) -> None:
    asked.script(PROCESS, coins=coins, answer=said)
    assert ledger.refused("retrieveFund", [provider], asked.name, sender=user) == error(
        "RefundMismatch", received=coins, reported=reported
    )
    assert world.available(user) == 6 * COIN


@KINDS
def test_two_words_are_enough_and_more_are_ignored(
    ledger: Contract, world: World, user: str, provider: str, asked: Service
) -> None:
    asked.script(PROCESS, coins=COIN, answer=word(COIN) + word(0))
    ledger.send("retrieveFund", [provider], asked.name, sender=user)
    asked.script(PROCESS, coins=COIN, answer=answer(COIN) + bytes(500))
    ledger.send("retrieveFund", [provider], asked.name, sender=user)
    asked.answer_with_bombs()
    ledger.send("retrieveFund", [provider], asked.name, sender=user)
    assert world.available(user) == 8 * COIN


@KINDS
@pytest.mark.parametrize("function", [PROCESS, "requestRefundAll(address,address)", "accountExists(address,address)"])
def test_a_services_reason_is_passed_on(
    ledger: Contract, world: World, user: str, provider: str, asked: Service, function: str
) -> None:
    world.evm.time -= DAY  # not due yet, so that a native service has something left to ask back
    data = ledger.interface.encode("retrieveFund", [provider], asked.name)
    for reason in (b"x", bytes(range(100))):
        asked.script(function, mode=REVERT, answer=reason)
        outcome = world.evm.send(ledger.address, data, sender=user)
        assert (outcome.success, outcome.output) == (False, reason)
    asked.script(function, mode=REVERT_BOMB)
    outcome = world.evm.send(ledger.address, data, sender=user)
    assert (outcome.success, outcome.output) == (False, bytes(BOMB_SIZE))
    for mode in (REVERT, ENDLESS):
        asked.script(function, mode=mode)
        assert ledger.refused("retrieveFund", [provider], asked.name, sender=user) == error("CallFailed")
    assert world.available(user) == 6 * COIN


@KINDS
def test_coins_paid_late_are_nobodys(ledger: Contract, world: World, user: str, provider: str, asked: Service) -> None:
    """Reported and unpaid is refused; paid by itself afterwards is not credited."""
    asked.script(PROCESS, answer=answer(4 * COIN))
    assert ledger.refused("retrieveFund", [provider], asked.name, sender=user) == error(
        "RefundMismatch", received=0, reported=4 * COIN
    )
    asked.send("pay_ledger", 4 * COIN, sender=provider)
    world.forced += 4 * COIN
    assert world.available(user) == 6 * COIN
    assert ledger.refused("retrieveFund", [provider], asked.name, sender=user) == error(
        "RefundMismatch", received=0, reported=4 * COIN
    )


@KINDS
def test_coins_sent_before_in_the_same_transaction_are_nobodys(
    ledger: Contract, world: World, provider: str, kind: str, request: pytest.FixtureRequest
) -> None:
    service: Service = request.getfixturevalue(kind)
    wallet = world.wallet()
    wallet.act(ledger, "depositFund", coins=10 * COIN)
    wallet.act(ledger, "transferFund", provider, service.name, 4 * COIN)
    service.script(PROCESS, answer=answer(COIN))
    outcome = world.evm.send(
        wallet.address,
        wallet.interface.encode(
            "execute_both",
            service.address,
            service.interface.encode("pay_ledger", COIN),
            ledger.address,
            ledger.interface.encode("retrieveFund", [provider], service.name),
        ),
        sender=world.stranger,
    )
    assert not outcome.success
    assert ledger.interface.decode_error(outcome.output) == error("RefundMismatch", received=0, reported=COIN)


@KINDS
@pytest.mark.parametrize("function", ["addAccount(address,address,string)", "depositFund(address,address,uint256)"])
def test_coins_sent_back_by_a_transfer_are_nobodys(
    ledger: Contract, world: World, user: str, provider: str, kind: str, function: str, request: pytest.FixtureRequest
) -> None:
    service: Service = request.getfixturevalue(kind)
    world.open(user)
    if function.startswith("deposit"):
        ledger.send("transferFund", provider, service.name, COIN, sender=user)
    before = world.available(user)
    service.script(function, coins=COIN)
    ledger.send("transferFund", provider, service.name, COIN, sender=user)
    world.forced += COIN
    assert world.available(user) == before - COIN


@KINDS
def test_coins_of_another_service_do_not_count(
    ledger: Contract, world: World, user: str, provider: str, asked: Service
) -> None:
    other = world.service("other-v1")
    asked.script(
        PROCESS,
        calls=[(other.address, other.interface.encode("pay_ledger", 4 * COIN))],
        answer=answer(4 * COIN),
    )
    assert ledger.refused("retrieveFund", [provider], asked.name, sender=user) == error(
        "RefundMismatch", received=0, reported=4 * COIN
    )


@KINDS
def test_another_users_retrieval_inside_of_ours_counts_nothing_twice(
    ledger: Contract, world: World, user: str, provider: str, asked: Service
) -> None:
    """The service makes a second user retrieve, in between; what comes home then is that user's alone."""
    wallet = world.wallet()
    wallet.act(ledger, "depositFund", coins=10 * COIN)
    inner = world.service("inner-v1")
    wallet.act(ledger, "transferFund", world.second, inner.name, 2 * COIN)
    wallet.act(ledger, "retrieveFund", [world.second], inner.name)
    world.evm.time += DAY
    asked.script(PROCESS, calls=[wallet.through(ledger, "retrieveFund", [world.second], inner.name)])
    ledger.send("retrieveFund", [provider], asked.name, sender=user)
    assert asked.outcome(0)[0]
    assert world.available(user) == 10 * COIN
    assert world.available(wallet.address) == 10 * COIN


@KINDS
@pytest.mark.parametrize(
    ("before", "inner", "reported", "credited"),
    [
        # Coins paid before the inner call belong to the outer one; the inner one gets only its own.
        (3, 2, 3, (3, 2)),
        (0, 2, 0, (0, 2)),
        (3, 0, 3, (3, 0)),
    ],
)
def test_nested_retrievals_from_one_service_are_told_apart(
    ledger: Contract,
    world: World,
    user: str,
    provider: str,
    asked: Service,
    before: int,
    inner: int,
    reported: int,
    credited: tuple[int, int],
) -> None:
    wallet = world.wallet()
    wallet.act(ledger, "depositFund", coins=10 * COIN)
    wallet.act(ledger, "transferFund", provider, asked.name, 2 * COIN)
    if inner:
        wallet.act(ledger, "retrieveFund", [provider], asked.name)
        world.evm.time += DAY
    calls = [(asked.address, asked.interface.encode("pay_ledger", before * COIN))] if before else []
    calls.append(wallet.through(ledger, "retrieveFund", [provider], asked.name))
    asked.script(PROCESS, calls=calls, answer=answer(reported * COIN), once=True)
    ledger.send("retrieveFund", [provider], asked.name, sender=user)
    assert all(asked.outcome(i)[0] for i in range(len(calls)))
    assert world.available(user) == (6 + credited[0]) * COIN
    assert world.available(wallet.address) == (8 + credited[1]) * COIN
