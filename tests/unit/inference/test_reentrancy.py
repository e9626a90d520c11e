# SPDX-License-Identifier: Apache-2.0
"""A provider or a ledger whose wallet calls back while it is paid: no second payout starts, nothing else is in the way,
and nothing is counted twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving_network.contracts import Decoded, Interface
from tests.shared import compile_contract
from tests.unit.contract import COIN, Contract, behind_front, error
from tests.unit.inference.world import DAY, OFFER, STAKE, World

ROOT = Path(__file__).parents[3]


class Wallet(Contract):
    """Provider or ledger as a contract."""

    def act(self, contract: Contract, name: str, *args: Any, coins: int = 0) -> None:
        data = contract.interface.encode(name, *args)
        self.send("act", contract.address, data, coins, sender=self.address)

    def on_coins(self, contract: Contract, name: str, *args: Any) -> None:
        self.send("onCoins", contract.address, contract.interface.encode(name, *args), sender=self.address)

    def answer(self, contract: Contract) -> Decoded | None:
        """The error that the call made on receiving coins got; it must have been made, and refused."""
        assert self.ask("calls") == 1
        assert self.ask("succeeded") is False
        return contract.interface.decode_error(self.ask("answer"))


@pytest.fixture
def wallet(world: World) -> Wallet:
    compiled = compile_contract(ROOT / "tests/unit/serving/mocks/Caller.vy", ROOT)
    address = world.evm.deploy(compiled.bytecode, sender=world.stranger).created
    assert address is not None
    world.evm.set_balance(address, 10 * STAKE)
    return Wallet(world.evm, address, Interface(compiled.abi))


@pytest.fixture
def paid(world: World, serving: Contract, wallet: Wallet) -> Wallet:
    """A provider that is a contract, registered and confirmed, with two users."""
    wallet.act(serving, "addOrUpdateService", OFFER, coins=STAKE)
    serving.history.append(Decoded("ProviderStaked", {"provider": wallet.address, "amount": STAKE}))
    world.confirm(wallet.address)
    for user in (world.user, world.stranger):
        world.open(user, wallet.address)
    return wallet


def entries(world: World, provider: str, nonce: int, user: str = "") -> list[dict[str, Any]]:
    return [world.signed(world.fee(user=user or world.user, nonce=nonce), provider=provider)]


def batch(world: World, provider: str, nonce: int) -> tuple[Any, ...]:
    return world.batch(world.fee(nonce=nonce), provider=provider)


PAYING: list[tuple[str, Callable[[World, str, int], tuple[Any, ...]]]] = [
    ("settleFeesWithTEE", lambda world, provider, nonce: (entries(world, provider, nonce),)),
    ("settleBatchWithTEE", batch),
]


@pytest.mark.parametrize(("first", "first_arguments"), PAYING)
@pytest.mark.parametrize(("second", "second_arguments"), [*PAYING, ("removeService", lambda *_: ())])
def test_no_payout_starts_inside_of_another(
    world: World, serving: Contract, paid: Wallet, first: str, first_arguments: Any, second: str, second_arguments: Any
) -> None:
    provider = paid.address
    paid.on_coins(serving, second, *second_arguments(world, provider, 2))
    before = world.evm.balance(provider)
    paid.act(serving, first, *first_arguments(world, provider, 1))
    assert paid.answer(serving) == error("PayoutInProgress")
    assert world.evm.balance(provider) == before + COIN
    assert world.account(provider=provider)["nonce"] == 1
    assert serving.ask("serviceExists", provider) is True


def test_removing_a_service_pays_the_stake_once(world: World, serving: Contract, paid: Wallet) -> None:
    paid.on_coins(serving, "removeService")
    before = world.evm.balance(paid.address)
    paid.act(serving, "removeService")
    serving.history.append(Decoded("ProviderStakeReturned", {"provider": paid.address, "amount": STAKE}))
    assert paid.answer(serving) == error("ServiceNotExist", provider=paid.address)
    assert world.evm.balance(paid.address) == before + STAKE


def test_a_payout_sees_what_is_booked_already(world: World, serving: Contract, paid: Wallet) -> None:
    """The receiver reads its user's account while it is paid."""
    paid.on_coins(serving, "getAccount", world.user, paid.address)
    paid.act(serving, "settleFeesWithTEE", entries(world, paid.address, 1))
    assert paid.ask("succeeded") is True
    account = serving.interface.decode_result("getAccount", paid.ask("answer"))
    assert (account["balance"], account["nonce"]) == (9 * COIN, 1)


def test_what_pays_nothing_is_not_in_the_way(world: World, serving: Contract, paid: Wallet) -> None:
    paid.on_coins(serving, "addOrUpdateService", OFFER | {"inputPrice": 99})
    paid.act(serving, "settleFeesWithTEE", entries(world, paid.address, 1))
    assert paid.ask("succeeded") is True
    assert serving.ask("getService", paid.address)["inputPrice"] == 99


def test_a_settlement_of_nothing_inside_of_a_payout_is_booked_once(
    world: World, serving: Contract, paid: Wallet
) -> None:
    fee = world.fee(0, user=world.stranger, nonce=5)
    paid.on_coins(serving, "settleFeesWithTEE", [world.signed(fee, provider=paid.address)])
    paid.act(serving, "settleFeesWithTEE", entries(world, paid.address, 1))
    assert paid.ask("succeeded") is True
    assert world.account(world.stranger, paid.address)["nonce"] == 5


def test_a_refund_comes_home_once(world: World, wallet: Wallet) -> None:
    """The ledger that receives a refund asks for it again at once."""
    own = new_service(world, wallet)
    wallet.act(own, "addAccount", world.user, world.provider, "", coins=5 * COIN)
    wallet.act(own, "requestRefundAll", world.user, world.provider)
    world.evm.time += DAY
    wallet.on_coins(own, "processRefund", world.user, world.provider)
    before = world.evm.balance(wallet.address)
    wallet.act(own, "processRefund", world.user, world.provider)
    assert world.evm.balance(wallet.address) == before + 5 * COIN
    assert wallet.ask("calls") == 1
    assert wallet.ask("succeeded") is True
    assert own.interface.decode_result("processRefund", wallet.ask("answer")) == (0, 0, 0)


def test_a_refund_of_another_account_waits_for_the_payout(world: World, wallet: Wallet) -> None:
    own = new_service(world, wallet)
    for user in (world.user, world.stranger):
        wallet.act(own, "addAccount", user, world.provider, "", coins=COIN)
        wallet.act(own, "requestRefundAll", user, world.provider)
    world.evm.time += DAY
    wallet.on_coins(own, "processRefund", world.stranger, world.provider)
    wallet.act(own, "processRefund", world.user, world.provider)
    assert wallet.answer(own) == error("PayoutInProgress")
    assert own.ask("getAccount", world.stranger, world.provider)["balance"] == COIN


def test_the_lock_ends_with_the_payout(world: World, serving: Contract, paid: Wallet) -> None:
    """Two payouts in one transaction, one after the other."""
    provider = paid.address
    calls = [
        serving.interface.encode("settleFeesWithTEE", entries(world, provider, 1)),
        serving.interface.encode("settleBatchWithTEE", *batch(world, provider, 2)),
    ]
    before = world.evm.balance(provider)
    paid.send("actTwice", serving.address, *calls, sender=world.stranger)
    assert world.evm.balance(provider) == before + 2 * COIN
    assert world.account(provider=provider)["nonce"] == 2


def new_service(world: World, ledger: Wallet) -> Contract:
    """Inference whose ledger is the wallet."""
    return behind_front(
        world.evm, "InferenceServing", STAKE, owner=world.owner, initialize=(DAY, ledger.address, world.owner)
    )
