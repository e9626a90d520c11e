# SPDX-License-Identifier: Apache-2.0
"""depositFund"""

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import MIN_ACCOUNT, World


def test_adds_to_a_ledger(ledger: Contract, world: World, user: str, opened: int) -> None:
    done = ledger.send("depositFund", sender=user, value=1)
    assert done.result is None
    assert done.events == [event("Deposited", user=user, payer=user, amount=1, availableBalance=opened + 1)]
    assert (world.available(user), world.total(user)) == (opened + 1, opened + 1)


def test_refuses_nothing(ledger: Contract, user: str) -> None:
    assert ledger.refused("depositFund", sender=user) == error("ZeroAmountNotAllowed")


def test_opens_a_ledger_where_there_is_none(ledger: Contract, user: str) -> None:
    done = ledger.send("depositFund", sender=user, value=MIN_ACCOUNT)
    assert done.events == [
        event("LedgerCreated", user=user),
        event("Deposited", user=user, payer=user, amount=MIN_ACCOUNT, availableBalance=MIN_ACCOUNT),
    ]
    assert ledger.ask("getLedger", user)["additionalInfo"] == ""


def test_opens_none_with_less_than_the_minimum(ledger: Contract, user: str) -> None:
    assert ledger.refused("depositFund", sender=user, value=MIN_ACCOUNT - 1) == error(
        "MinimumDepositRequired", provided=MIN_ACCOUNT - 1, required=MIN_ACCOUNT
    )
    assert ledger.refused("getLedger", user, sender=user) == error("LedgerNotExists", user=user)


def test_refuses_more_than_it_can_count(ledger: Contract, world: World, user: str, opened: int) -> None:
    world.evm.set_balance(user, 2**100)
    assert ledger.refused("depositFund", sender=user, value=2**96 - opened) == error(
        "AmountTooLarge", amount=2**96, max=2**96 - 1
    )
    ledger.send("depositFund", sender=user, value=2**96 - 1 - opened)
    assert world.available(user) == 2**96 - 1


def test_total_grows_by_the_same_while_services_hold_money(
    ledger: Contract, world: World, user: str, provider: str, opened: int
) -> None:
    world.service()
    ledger.send("transferFund", provider, "others-v1", 4 * COIN, sender=user)
    ledger.send("depositFund", sender=user, value=COIN)
    assert (world.available(user), world.total(user)) == (opened - 3 * COIN, opened + COIN)
