# SPDX-License-Identifier: Apache-2.0
"""refundAll: leaving, however little somebody else has just added"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import MIN_ACCOUNT, Service, World


def test_pays_everything_and_deletes(ledger: Contract, world: World, user: str, opened: int) -> None:
    before = world.evm.balance(user)
    done = ledger.send("refundAll", sender=user)
    assert done.events == [
        event("Refunded", user=user, amount=opened, availableBalance=0),
        event("LedgerDeleted", user=user),
    ]
    assert world.evm.balance(user) == before + opened


def test_dust_from_a_stranger_stops_refund_and_delete_but_not_this(
    ledger: Contract, world: World, user: str, stranger: str, opened: int
) -> None:
    ledger.send("depositFundFor", user, sender=stranger, value=1)
    assert ledger.refused("refund", opened, sender=user) == error(
        "MinimumDepositRequired", provided=1, required=MIN_ACCOUNT
    )
    assert ledger.refused("deleteLedger", sender=user) == error(
        "MustWithdrawAllFundsFirst", remainingBalance=opened + 1
    )
    before = world.evm.balance(user)
    ledger.send("refundAll", sender=user)
    assert world.evm.balance(user) == before + opened + 1


@pytest.mark.usefixtures("opened")
def test_pays_less_than_the_minimum_too(
    ledger: Contract, world: World, user: str, provider: str, service: Service
) -> None:
    ledger.send("transferFund", provider, service.name, 9 * COIN, sender=user)
    done = ledger.send("refundAll", sender=user)
    assert done.events == [event("Refunded", user=user, amount=COIN, availableBalance=0)]
    assert (world.available(user), world.total(user)) == (0, 9 * COIN)


def test_needs_a_ledger(ledger: Contract, stranger: str) -> None:
    assert ledger.refused("refundAll", sender=stranger) == error("LedgerNotExists", user=stranger)


def test_a_wallet_that_refuses_coins_gets_an_error(ledger: Contract, world: World) -> None:
    wallet = world.wallet()
    wallet.act(ledger, "depositFund", coins=10 * COIN)
    wallet.send("refuse", True, sender=world.stranger)
    assert wallet.refused_by(ledger, "refundAll") == error("TransferFailed")
