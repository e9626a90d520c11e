# SPDX-License-Identifier: Apache-2.0
"""A user that is a contract may call again in the same transaction: the lock ends with the call that took it."""

from typing import Any

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.ledger.world import DAY, Wallet, World


@pytest.fixture
def wallet(world: World) -> Wallet:
    """A contract with 10 coins in its ledger, 2 of them with a provider."""
    world.service("native-v1", native=True)
    made = world.wallet()
    made.act(world.ledger, "depositFund", coins=10 * COIN)
    made.act(world.ledger, "transferFund", world.provider, "native-v1", 2 * COIN)
    return made


def then(wallet: Wallet, ledger: Contract, first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[str, bytes]:
    """What anybody sends to make the wallet call the ledger twice."""
    both = (part for call in (first, second) for part in (ledger.address, ledger.interface.encode(*call)))
    return wallet.address, wallet.interface.encode("execute_both", *both)


@pytest.mark.parametrize("name", ["refund", "refundAll", "transferFund", "retrieveFund"])
def test_another_call_follows(world: World, ledger: Contract, wallet: Wallet, name: str) -> None:
    arguments: dict[str, tuple[Any, ...]] = {
        "refund": (COIN,),
        "refundAll": (),
        "transferFund": (world.provider, "native-v1", COIN),
        "retrieveFund": ([world.provider], "native-v1"),
    }
    outcome = world.evm.send(
        *then(wallet, ledger, (name, *arguments[name]), ("updateAdditionalInfo", "later")), sender=world.stranger
    )
    assert outcome.success
    assert ledger.ask("getLedger", wallet.address)["additionalInfo"] == "later"


def test_the_same_call_follows(world: World, ledger: Contract, wallet: Wallet) -> None:
    assert world.evm.send(*then(wallet, ledger, ("refund", COIN), ("refund", COIN)), sender=world.stranger).success
    assert world.available(wallet.address) == 6 * COIN


def test_after_a_deletion_there_is_no_ledger_and_no_lock(world: World, ledger: Contract, wallet: Wallet) -> None:
    for _ in range(2):
        wallet.act(ledger, "retrieveFund", [world.provider], "native-v1")
        world.evm.time += DAY
    world.services[0].script("lockedBalance(address)", answer=b"")
    wallet.act(ledger, "refundAll")
    world.services[0].script("lockedBalance(address)")
    outcome = world.evm.send(
        *then(wallet, ledger, ("deleteLedger",), ("updateAdditionalInfo", "too late")), sender=world.stranger
    )
    assert not outcome.success
    assert ledger.interface.decode_error(outcome.output) == error("LedgerNotExists", user=wallet.address)
