# SPDX-License-Identifier: Apache-2.0
"""addLedger"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.ledger.world import MIN_ACCOUNT, World


def test_opens_a_ledger(ledger: Contract, user: str) -> None:
    done = ledger.send("addLedger", "who I am", sender=user, value=5 * COIN)
    assert done.result == (5 * COIN, 0)
    assert done.events == [
        event("LedgerCreated", user=user),
        event("Deposited", user=user, payer=user, amount=5 * COIN, availableBalance=5 * COIN),
    ]
    assert ledger.ask("getLedger", user) == {
        "user": user,
        "availableBalance": 5 * COIN,
        "totalBalance": 5 * COIN,
        "additionalInfo": "who I am",
    }


def test_takes_exactly_the_minimum(ledger: Contract, world: World, user: str) -> None:
    ledger.send("addLedger", "", sender=user, value=MIN_ACCOUNT)
    assert world.available(user) == MIN_ACCOUNT


def test_refuses_less_than_the_minimum_first(ledger: Contract, user: str) -> None:
    ledger.send("addLedger", "", sender=user, value=MIN_ACCOUNT)
    assert ledger.refused("addLedger", "x" * 4097, sender=user, value=MIN_ACCOUNT - 1) == error(
        "MinimumDepositRequired", provided=MIN_ACCOUNT - 1, required=MIN_ACCOUNT
    )


@pytest.mark.parametrize("length", [4097, 5120])
def test_refuses_a_long_info_second(ledger: Contract, user: str, length: int) -> None:
    ledger.send("addLedger", "", sender=user, value=MIN_ACCOUNT)
    assert ledger.refused("addLedger", "x" * length, sender=user, value=MIN_ACCOUNT) == error(
        "AdditionalInfoTooLong", length=length, max=4096
    )


@pytest.mark.parametrize("name", ["addLedger", "updateAdditionalInfo"])
def test_takes_the_shortest_info_and_forgets_it_with_the_ledger(ledger: Contract, user: str, name: str) -> None:
    ledger.send("addLedger", "i" if name == "addLedger" else "", sender=user, value=MIN_ACCOUNT)
    if name == "updateAdditionalInfo":
        ledger.send(name, "i", sender=user)
    assert ledger.ask("getLedger", user)["additionalInfo"] == "i"
    ledger.send("refundAll", sender=user)
    ledger.send("depositFund", sender=user, value=MIN_ACCOUNT)
    assert ledger.ask("getLedger", user)["additionalInfo"] == ""


def test_takes_the_longest_info(ledger: Contract, user: str) -> None:
    info = "".join(chr(97 + i % 26) for i in range(4096))
    ledger.send("addLedger", info, sender=user, value=MIN_ACCOUNT)
    assert ledger.ask("getLedger", user)["additionalInfo"] == info


def test_counts_bytes_and_not_letters(ledger: Contract, user: str) -> None:
    assert ledger.refused("addLedger", "é" * 2049, sender=user, value=MIN_ACCOUNT) == error(
        "AdditionalInfoTooLong", length=4098, max=4096
    )


def test_refuses_a_second_ledger_third(ledger: Contract, user: str) -> None:
    ledger.send("addLedger", "", sender=user, value=MIN_ACCOUNT)
    assert ledger.refused("addLedger", "", sender=user, value=MIN_ACCOUNT) == error("LedgerExists", user=user)


def test_refuses_more_than_it_can_count(ledger: Contract, world: World, user: str) -> None:
    world.evm.set_balance(user, 2**100)
    assert ledger.refused("addLedger", "", sender=user, value=2**96) == error(
        "AmountTooLarge", amount=2**96, max=2**96 - 1
    )
    ledger.send("addLedger", "", sender=user, value=2**96 - 1)
    assert world.available(user) == 2**96 - 1


def test_a_ledger_that_was_deleted_starts_anew(ledger: Contract, user: str) -> None:
    ledger.send("addLedger", "before", sender=user, value=MIN_ACCOUNT)
    ledger.send("refundAll", sender=user)
    ledger.send("addLedger", "", sender=user, value=MIN_ACCOUNT)
    assert ledger.ask("getLedger", user)["additionalInfo"] == ""
