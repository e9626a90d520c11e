# SPDX-License-Identifier: Apache-2.0
"""The user's client, on the real contracts: every wei is returned."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_network.contracts.errors import (
    AccountNotExists,
    InsufficientBalance,
    LedgerExists,
    LedgerNotExists,
    MinimumDepositRequired,
    MustWithdrawAllFundsFirst,
    ServiceNotExist,
)
from serving_network.errors import InvalidInput
from serving_network.money import ALL
from serving_network.money import WEI_PER_COIN as COIN
from tests.clients.network_fixture import World

DAY = 86_400


def test_opening_a_ledger_moves_the_coins_into_it(world: World) -> None:
    before = world.connection.balance(world.user.address)
    receipt = world.user.open_ledger(3 * COIN, "contact")
    ledger = world.user.ledger(world.user.address)
    assert ledger is not None
    assert (ledger.available, ledger.total, ledger.info) == (3 * COIN, 3 * COIN, "contact")
    assert before - world.connection.balance(world.user.address) == 3 * COIN + receipt.cost


def test_a_ledger_is_opened_once(world: World) -> None:
    world.user.open_ledger(3 * COIN)
    with pytest.raises(LedgerExists) as failure:
        world.user.open_ledger(3 * COIN)
    assert failure.value.user == world.user.address
    assert failure.value.next_step == "serving ledger deposit '3 coins'"


def test_too_little_is_refused_before_anything_is_spent(world: World) -> None:
    before = world.connection.balance(world.user.address)
    with pytest.raises(MinimumDepositRequired) as failure:
        world.user.open_ledger(3 * COIN - 1)
    assert (failure.value.provided, failure.value.required) == (3 * COIN - 1, 3 * COIN)
    assert "2.999999999999999999 coins" in str(failure.value)
    assert world.connection.balance(world.user.address) == before


def test_a_deposit_for_another_opens_their_ledger(world: World) -> None:
    world.user.deposit(4 * COIN, world.stranger.address)
    ledger = world.user.ledger(world.stranger.address)
    assert ledger is not None
    assert ledger.available == 4 * COIN
    assert world.user.ledger(world.user.address) is None


def test_the_information_can_be_changed(world: World) -> None:
    world.user.open_ledger(3 * COIN)
    world.user.describe_ledger("new")
    ledger = world.user.ledger(world.user.address)
    assert ledger is not None
    assert ledger.info == "new"


def test_funding_is_checked_before_it_is_sent(world: World) -> None:
    missing = world.user.check_funding(world.provider.address, COIN)
    assert isinstance(missing.obstacle, LedgerNotExists)
    world.user.open_ledger(3 * COIN)
    unregistered = world.user.check_funding(world.provider.address, COIN)
    assert isinstance(unregistered.obstacle, ServiceNotExist)
    world.provider.register(world.offer())
    unconfirmed = world.user.check_funding(world.provider.address, COIN)
    assert unconfirmed.obstacle is None
    assert "has not confirmed" in unconfirmed.warnings[0]
    assert unconfirmed.locked_for == DAY
    small = world.user.check_funding(world.provider.address, COIN - 1)
    assert isinstance(small.obstacle, MinimumDepositRequired)
    much = world.user.check_funding(world.provider.address, 4 * COIN)
    assert much.obstacle is not None
    assert much.obstacle.next_step == "serving ledger deposit '1 coin'"


def test_funding_an_unregistered_provider_must_be_forced(world: World) -> None:
    world.user.open_ledger(5 * COIN)
    with pytest.raises(ServiceNotExist):
        world.user.fund(world.stranger.address, COIN)
    world.user.fund(world.stranger.address, COIN, even_unregistered=True)
    account = world.user.account(world.user.address, world.stranger.address)
    assert account is not None
    assert account.balance == COIN


def test_funding_cancels_pending_refunds_first(world: World) -> None:
    world.with_account(10 * COIN, 5 * COIN)
    world.user.retrieve([world.provider.address])
    check = world.user.check_funding(world.provider.address, 7 * COIN)
    assert (check.cancelled, check.moved) == (5 * COIN, 2 * COIN)
    world.user.fund(world.provider.address, 7 * COIN)
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert (account.balance, account.pending_refund) == (7 * COIN, 0)


def test_balances_show_everything_and_when_it_unlocks(world: World) -> None:
    world.with_account(10 * COIN, 4 * COIN)
    world.user.retrieve()
    balances = world.user.balances(world.user.address)
    assert balances.ledger is not None
    assert balances.ledger.available == 6 * COIN
    (account,) = balances.accounts
    assert (account.service, account.balance, account.spendable) == ("inference-v1.0", 4 * COIN, 0)
    (refund,) = account.refunds
    assert refund.unlocks_at == refund.created_at + DAY
    assert balances.total == balances.wallet + 10 * COIN


def test_retrieved_funds_return_to_the_ledger_after_the_lock_time(world: World) -> None:
    world.with_account(10 * COIN, 4 * COIN)
    world.user.retrieve()
    world.network.travel(DAY)
    world.user.retrieve()
    ledger = world.user.ledger(world.user.address)
    assert ledger is not None
    assert (ledger.available, ledger.total) == (10 * COIN, 10 * COIN)


def test_retrieving_again_before_a_refund_unlocks_sends_nothing(world: World) -> None:
    world.with_account(10 * COIN, 4 * COIN)
    assert len(world.user.retrieve()) == 1
    assert world.user.retrieve() == world.user.retrieve([world.provider.address]) == []
    world.chain.request("evm_increaseTime", [DAY])  # without a block
    assert len(world.user.retrieve()) == 1


def test_retrieving_without_an_account_sends_nothing(world: World) -> None:
    world.with_account()
    with pytest.raises(AccountNotExists):
        world.user.retrieve([world.provider.address, world.stranger.address])
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert account.pending_refund == 0


def test_retrieving_from_more_than_twenty_providers_takes_several_transactions(world: World) -> None:
    world.user.open_ledger(30 * COIN)
    providers = [f"0x{number:040x}" for number in range(0x1000, 0x1000 + 23)]
    for provider in providers:
        world.user.fund(provider, COIN, even_unregistered=True)
    receipts = world.user.retrieve()
    assert len(receipts) == 2
    accounts = world.user.accounts(user=world.user.address)
    assert len(accounts) == 23
    assert all(one.pending_refund == COIN for one in accounts)


def test_a_top_up_acts_only_below_its_threshold(world: World) -> None:
    world.with_account(10 * COIN, 2 * COIN)
    assert world.user.top_up(world.provider.address, COIN, 3 * COIN) is None
    assert world.user.top_up(world.provider.address, 2 * COIN + 1, 3 * COIN) is not None
    account = world.user.account(world.user.address, world.provider.address)
    assert account is not None
    assert account.balance == 3 * COIN
    with pytest.raises(InvalidInput):
        world.user.top_up(world.provider.address, 3, 2)


def test_withdrawing_an_amount_and_everything(world: World) -> None:
    world.user.open_ledger(10 * COIN + 123)
    world.user.withdraw(7 * COIN)
    ledger = world.user.ledger(world.user.address)
    assert ledger is not None
    assert ledger.available == 3 * COIN + 123
    with pytest.raises(MinimumDepositRequired):
        world.user.withdraw(COIN)
    with pytest.raises(InsufficientBalance):
        world.user.withdraw(30 * COIN)
    before = world.connection.balance(world.user.address)
    receipt = world.user.withdraw(ALL)
    assert world.connection.balance(world.user.address) == before + 3 * COIN + 123 - receipt.cost
    assert world.user.ledger(world.user.address) is None


def test_withdrawing_everything_from_an_empty_ledger_does_not_delete_it(world: World) -> None:
    world.with_account(10 * COIN, 10 * COIN)
    before = world.connection.balance(world.user.address)
    with pytest.raises(InvalidInput, match="No coins are available") as failure:
        world.user.withdraw(ALL)
    assert "ledger delete" in str(failure.value.next_step)
    assert world.connection.balance(world.user.address) == before
    assert world.user.ledger(world.user.address) is not None


def test_a_small_deposit_by_a_stranger_does_not_block_a_withdrawal(world: World) -> None:
    world.user.open_ledger(3 * COIN)
    world.stranger.deposit(1, world.user.address)
    world.user.withdraw(ALL)
    assert world.user.ledger(world.user.address) is None


def test_a_ledger_with_coins_is_not_deleted(world: World) -> None:
    world.with_account(10 * COIN, 4 * COIN)
    with pytest.raises(MustWithdrawAllFundsFirst) as failure:
        world.user.delete_ledger()
    assert failure.value.remainingBalance == 10 * COIN


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    deposit=st.integers(3 * COIN, 1000 * COIN),
    extra=st.integers(1, 3 * COIN),
    share=st.integers(0, 10**18),
)
def test_every_wei_is_returned(world: World, deposit: int, extra: int, share: int) -> None:
    """Deposit, fund, retrieve and withdraw: the wallet gets everything back except the gas."""
    snapshot = world.chain.request("evm_snapshot", [])
    amount = COIN + (deposit - COIN) * share // 10**18
    before = world.connection.balance(world.user.address)
    spent = [
        world.user.open_ledger(deposit),
        world.user.deposit(extra),
        world.user.fund(world.provider.address, amount, even_unregistered=True),
        *world.user.retrieve(),
    ]
    world.network.travel(DAY)
    spent += world.user.retrieve()
    spent.append(world.user.withdraw(ALL))
    after = world.connection.balance(world.user.address)
    assert before - after == sum(one.cost for one in spent)
    assert world.user.ledger(world.user.address) is None
    world.chain.request("evm_revert", [snapshot])
