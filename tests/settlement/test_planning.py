# SPDX-License-Identifier: Apache-2.0
"""Who is settled, in which order, and what keeps the others: each rule at its edge."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_utils.address import to_checksum_address

from serving_network.contracts.models import Account, Refund, Status
from serving_network.money import describe
from serving_network.settlement.chain import Service
from serving_network.settlement.journal.records import UserState
from serving_network.settlement.planning import (
    NONCE_LIMIT,
    Stake,
    Wait,
    in_order_of_risk,
    obstacle,
    stake_of,
    wait_for,
)

USER, OTHER = (to_checksum_address(bytes([number]) * 20) for number in (1, 2))
SERVICE = Service(1, 1, OTHER, True, True)
CAP = 10**6


def user_with(open_fee: int, address: str = USER, last_nonce: int = 0) -> UserState:
    return UserState(1, address, 5, 0, 0, open_fee + 7, open_fee + 9, 7, 2, last_nonce)


def account_with(balance: int = 100, *refunds: Refund, nonce: int = 0, acknowledged: bool = True) -> Account:
    return Account("inference", USER, OTHER, nonce, balance, 0, refunds, "", acknowledged)


def test_only_refunds_that_unlock_by_the_next_settlement_are_at_risk() -> None:
    refunds = Refund(10, 0, 60), Refund(20, 0, 50), Refund(40, 0, 61)
    assert stake_of(user_with(5), account_with(100, *refunds), 60) == Stake(5, 100, 30, 50)
    assert stake_of(user_with(5), account_with(100), 60) == Stake(5, 100, 0, None)
    assert stake_of(user_with(5), None, 60) == Stake(5, 0, 0, None)


def test_a_warning_shows_six_decimals() -> None:
    stake = Stake(115_600_000_000_000, 0, 0, None)
    assert stake.warning() == "open work exceeds the balance by 0.000115 coins"
    assert stake.warning(describe) == "open work exceeds the balance by 0.0001156 coins"


@pytest.mark.parametrize(
    ("stake", "uncovered", "endangered", "warning"),
    [
        (Stake(100, 100, 0, None), 0, 0, None),
        (Stake(100, 100, 30, 1), 0, 30, "30 wei of open work will not be covered once a refund unlocks"),
        (Stake(50, 100, 30, 1), 0, 0, None),
        (Stake(90, 100, 30, 1), 0, 20, "20 wei of open work will not be covered once a refund unlocks"),
        (Stake(101, 100, 0, None), 1, 0, "open work exceeds the balance by 1 wei"),
        (
            Stake(150, 100, 30, 1), 50, 30,
            "30 wei of open work will not be covered once a refund unlocks; open work exceeds the balance by 50 wei",
        ),
        (Stake(100, 0, 0, None), 100, 0, "open work exceeds the balance by 100 wei"),
    ],
)  # fmt: skip
def test_amounts_at_risk_are_counted_once(stake: Stake, uncovered: int, endangered: int, warning: str | None) -> None:
    assert (stake.uncovered, stake.endangered, stake.warning()) == (uncovered, endangered, warning)


@pytest.mark.parametrize(
    ("open_fee", "account", "service", "wait"),
    [
        (0, account_with(), SERVICE, Wait.NOTHING_DUE),
        (0, None, SERVICE, Wait.NOTHING_DUE),
        (10, None, SERVICE, Wait.NO_ACCOUNT),
        (10, account_with(acknowledged=False), SERVICE, Wait.NOT_ACKNOWLEDGED),
        (10, account_with(), replace(SERVICE, confirmed=False), Wait.SIGNER_NOT_CONFIRMED),
        (9, account_with(), SERVICE, Wait.UNDER_MINIMUM),
        (10, account_with(), SERVICE, None),
        (CAP, account_with(), SERVICE, None),
        (CAP + 1, account_with(), SERVICE, Wait.OVER_CAP),
        (10, account_with(0), SERVICE, Wait.NO_MONEY),
        (10, account_with(1), SERVICE, None),
        (10, account_with(nonce=NONCE_LIMIT - 1), SERVICE, Wait.NONCE_EXHAUSTED),
        (10, account_with(nonce=NONCE_LIMIT - 2), SERVICE, None),
    ],
)
def test_reasons_not_to_settle_a_user(
    open_fee: int, account: Account | None, service: Service, wait: Wait | None
) -> None:
    assert obstacle(user_with(open_fee), account, service, minimum=10, cap=CAP) is wait


def test_nonces_have_64_bits() -> None:
    assert NONCE_LIMIT == 1 << 64


def test_users_are_ordered_by_unlock_time_then_shortfall_then_amount() -> None:
    stakes = {
        "leaves soon": Stake(1, 1, 1, 50),
        "leaves soon with more": Stake(9, 9, 9, 50),
        "leaves later": Stake(500, 500, 500, 60),
        "leaves without harm": Stake(50, 1000, 10, 40),
        "uncovered": Stake(7, 6, 0, None),
        "uncovered by more": Stake(70, 6, 0, None),
        "small": Stake(2, 10, 0, None),
        "small too": Stake(2, 10, 0, None),
        "large": Stake(90, 100, 0, None),
    }
    users = [user_with(stake.open, name) for name, stake in stakes.items()]
    order = [
        "leaves soon with more", "leaves soon", "leaves later", "uncovered by more", "uncovered", "large",
        "leaves without harm", "small", "small too",
    ]  # fmt: skip
    assert [user.address for user in in_order_of_risk(users, stakes)] == order
    assert [user.address for user in in_order_of_risk(users[::-1], stakes)] == order


@pytest.mark.parametrize(
    ("status", "paid", "wait"),
    [
        (Status.SUCCESS, 5, None),
        (Status.PARTIAL, 5, Wait.PAID_IN_PART),
        (Status.PARTIAL, 0, Wait.NO_MONEY),
        (Status.NO_TEE_SIGNER, 0, Wait.NOT_ACKNOWLEDGED),
        (Status.PROVIDER_MISMATCH, 0, Wait.REFUSED),
        (Status.INVALID_NONCE, 0, Wait.REFUSED),
        (Status.INVALID_SIGNATURE, 0, Wait.REFUSED),
    ],
)
def test_reasons_why_requests_stay_open(status: Status, paid: int, wait: Wait | None) -> None:
    assert wait_for(status, paid) is wait


def test_each_wait_names_the_option_or_command_that_helps() -> None:
    assert "--max-user-fee" in Wait.OVER_CAP.value
    assert "serving doctor" in Wait.REFUSED.value
    assert "serving settlement adopt" in Wait.UNKNOWN_SETTLEMENT.value
    assert "node" in Wait.CHAIN_BEHIND.value
