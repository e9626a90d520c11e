# SPDX-License-Identifier: Apache-2.0
"""The ledger with our own inference service: what the ledger says and what the service holds are one book"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.contract import COIN, Contract, behind_front, error, event
from tests.unit.ledger.world import DAY, World

NAME = "inference-v1.0"


@pytest.fixture
def inference(world: World) -> Contract:
    made = behind_front(
        world.evm,
        "InferenceServing",
        100 * COIN,
        owner=world.owner,
        initialize=(DAY, world.ledger.address, world.owner),
    )
    world.register(made.address, NAME)
    world.ours.append(made)
    return made


def account(inference: Contract, user: str, provider: str) -> dict[str, Any]:
    found: dict[str, Any] = inference.ask("getAccount", user, provider)
    return found


@pytest.mark.usefixtures("opened")
def test_a_transfer_opens_tops_up_and_keeps_what_was_asked_back(
    ledger: Contract, world: World, user: str, provider: str, inference: Contract
) -> None:
    ledger.send("updateAdditionalInfo", "who I am", sender=user)
    for amount, moved, cancelled, balance, pending in (
        (3, 3, 0, 3, 0),
        (1, 1, 0, 4, 0),
        (None, 0, 0, 4, 4),
        (1, 0, 1, 4, 3),
        (4, 1, 3, 5, 0),
        (0, 0, 0, 5, 0),
    ):
        if amount is None:
            ledger.send("retrieveFund", [provider], NAME, sender=user)
        else:
            done = ledger.send("transferFund", provider, NAME, amount * COIN, sender=user)
            assert done.events == [
                event(
                    "FundsTransferred",
                    user=user,
                    provider=provider,
                    service=inference.address,
                    amount=moved * COIN,
                    cancelledRefund=cancelled * COIN,
                )
            ]
        found = account(inference, user, provider)
        assert (found["balance"], found["pendingRefund"]) == (balance * COIN, pending * COIN)
        assert found["additionalInfo"] == "who I am"
        assert (world.available(user), world.total(user)) == ((10 - balance) * COIN, 10 * COIN)
    assert world.evm.balance(inference.address) == 5 * COIN
    assert world.providers(user, NAME) == [provider]


@pytest.mark.usefixtures("opened", "inference")
def test_everything_comes_home_and_nothing_is_left(
    ledger: Contract, world: World, user: str, provider: str, second: str, inference: Contract
) -> None:
    for one in (provider, second):
        ledger.send("transferFund", one, NAME, 4 * COIN, sender=user)
    ledger.send("retrieveFund", [provider, second], NAME, sender=user)
    world.evm.time += DAY
    done = ledger.send("retrieveFund", [second, provider], NAME, sender=user)
    assert done.named("FundsRetrieved") == [
        {"user": user, "service": inference.address, "amount": 8 * COIN, "availableBalance": 10 * COIN}
    ]
    before = world.evm.balance(user)
    ledger.send("refundAll", sender=user)
    assert world.evm.balance(user) == before + 10 * COIN
    assert world.evm.balance(inference.address) == 0
    assert inference.ask("getAllAccounts", 0, 0) == ([], 0)
    assert world.providers(user, NAME) == []


@pytest.mark.usefixtures("opened", "inference")
def test_reasons_of_the_service_come_through(ledger: Contract, user: str, inference: Contract) -> None:
    outcome = ledger.evm.send(ledger.address, ledger.interface.encode("transferFund", user, NAME, COIN), sender=user)
    assert inference.interface.decode_error(outcome.output) == error("ProviderCannotBeUser")
    outcome = ledger.evm.send(
        ledger.address, ledger.interface.encode("transferFund", "0x" + 40 * "0", NAME, COIN), sender=user
    )
    assert inference.interface.decode_error(outcome.output) == error("InvalidAddress", addr="0x" + 40 * "0")


@pytest.mark.usefixtures("inference")
def test_fifty_accounts_can_be_counted_and_left(ledger: Contract, world: World, user: str) -> None:
    providers = [world.evm.account(f"provider {i}") for i in range(51)]
    world.open(user, 50 * COIN)
    for one in providers[:50]:
        ledger.send("transferFund", one, NAME, COIN, sender=user)
    assert ledger.refused("transferFund", providers[50], NAME, COIN, sender=user) == error(
        "TooManyProvidersForService", current=50, maximum=50
    )
    assert world.total(user) == 50 * COIN
    assert world.providers(user, NAME) == providers[:50]
    for _ in range(2):
        for start in (0, 20, 40):
            ledger.send("retrieveFund", providers[start : min(start + 20, 50)], NAME, sender=user)
        world.evm.time += DAY
    done = ledger.send("refundAll", sender=user)
    assert done.named("LedgerDeleted") == [{"user": user}]
    assert world.providers(user, NAME) == []


@pytest.mark.usefixtures("opened", "inference")
def test_the_least_gas_for_leaving_deletes_every_account(
    ledger: Contract, world: World, user: str, provider: str, second: str, inference: Contract
) -> None:
    for one in (provider, second):
        ledger.send("transferFund", one, NAME, 4 * COIN, sender=user)
    for _ in range(2):
        ledger.send("retrieveFund", [provider, second], NAME, sender=user)
        world.evm.time += DAY
    data = ledger.interface.encode("refundAll")
    succeeded = 0
    for gas in range(60_000, 300_000, 2_000):
        with world.evm.rolled_back():
            if world.evm.send(ledger.address, data, sender=user, gas=gas).success:
                succeeded += 1
                assert inference.ask("getAllAccounts", 0, 0) == ([], 0)
                assert ledger.refused("getLedger", user, sender=user) == error("LedgerNotExists", user=user)
    assert succeeded > 5


@pytest.mark.usefixtures("inference")
def test_a_user_who_comes_back_finds_nothing_old(
    ledger: Contract, world: World, user: str, provider: str, inference: Contract
) -> None:
    for info in ("first", ""):
        world.open(user, info=info)
        ledger.send("transferFund", provider, NAME, 4 * COIN, sender=user)
        found = account(inference, user, provider)
        assert (found["balance"], found["pendingRefund"], found["additionalInfo"]) == (4 * COIN, 0, info)
        for _ in range(2):
            ledger.send("retrieveFund", [provider], NAME, sender=user)
            world.evm.time += DAY
        ledger.send("refundAll", sender=user)
