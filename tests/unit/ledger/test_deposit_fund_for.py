# SPDX-License-Identifier: Apache-2.0
"""depositFundFor"""

from tests.unit.contract import Contract, error, event
from tests.unit.ledger.world import MIN_ACCOUNT, World

NOBODY = "0x" + 40 * "0"


def test_adds_to_somebodys_ledger(ledger: Contract, world: World, user: str, stranger: str, opened: int) -> None:
    done = ledger.send("depositFundFor", user, sender=stranger, value=7)
    assert done.events == [event("Deposited", user=user, payer=stranger, amount=7, availableBalance=opened + 7)]
    assert world.available(user) == opened + 7
    assert ledger.refused("getLedger", stranger, sender=stranger) == error("LedgerNotExists", user=stranger)


def test_opens_a_ledger_for_somebody(ledger: Contract, world: World, user: str, stranger: str) -> None:
    done = ledger.send("depositFundFor", user, sender=stranger, value=MIN_ACCOUNT)
    assert done.events == [
        event("LedgerCreated", user=user),
        event("Deposited", user=user, payer=stranger, amount=MIN_ACCOUNT, availableBalance=MIN_ACCOUNT),
    ]
    assert world.available(user) == MIN_ACCOUNT


def test_refuses_nobody_first(ledger: Contract, stranger: str) -> None:
    assert ledger.refused("depositFundFor", NOBODY, sender=stranger) == error("ZeroAddressNotAllowed")


def test_refuses_nothing_second(ledger: Contract, user: str, stranger: str) -> None:
    assert ledger.refused("depositFundFor", user, sender=stranger) == error("ZeroAmountNotAllowed")


def test_opens_none_with_less_than_the_minimum(ledger: Contract, user: str, stranger: str) -> None:
    assert ledger.refused("depositFundFor", user, sender=stranger, value=MIN_ACCOUNT - 1) == error(
        "MinimumDepositRequired", provided=MIN_ACCOUNT - 1, required=MIN_ACCOUNT
    )
