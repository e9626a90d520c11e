# SPDX-License-Identifier: Apache-2.0
"""Every invariant can fail: one wei, nonce or answer is put out of place, and it is noticed."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.stateful import revm
from tests.stateful.actions import Row
from tests.stateful.machine import ServingMachine, everybody_leaves
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER

pytestmark = pytest.mark.skipif(not revm.available, reason="pyrevm has no wheel for this Python")


class Machine(ServingMachine):
    evm = revm.Revm


@pytest.fixture
def machine() -> Machine:
    """A provider who has settled with one user, two users with accounts, one refund that waits; all invariants hold."""
    made = Machine()
    acts, world = made.acts, made.world
    provider, signer = world.providers[0], next(iter(world.tee_signers))
    for where in (INFERENCE, FINE_TUNING):
        acts.register(provider, where, signer, "least", 0)
        acts.confirm(world.owner, provider, where, signer)
    for user in world.users[:2]:
        acts.open_ledger(user, "5 least", "")
        acts.transfer(user, provider, INFERENCE, "5 least")
    acts.settle(INFERENCE, provider, [Row(0, "third")])
    acts.retrieve(world.users[0], [provider], INFERENCE)
    for name in INVARIANTS:
        getattr(made, name)()
    return made


INVARIANTS = (
    "contracts_and_model_agree",
    "every_coin_is_accounted_for",
    "refunds_add_up",
    "nonces_only_grow",
    "balances_fall_only_by_settlement_or_retrieval",
    "only_users_themselves_take_from_what_is_available",
    "nobody_earns_more_than_was_signed",
)


def _misread(machine: Machine, monkeypatch: pytest.MonkeyPatch, listing: str, change: Callable[[Any], None]) -> None:
    """As if the chain listed something else."""
    ask = machine.world.ask

    def other(where: str, name: str, *args: Any) -> Any:
        answer = deepcopy(ask(where, name, *args))
        if name == listing and where in (LEDGER, INFERENCE):
            change(answer[0])
        return answer

    monkeypatch.setattr(machine.world, "ask", other)
    machine.world.changes += 1


@pytest.mark.parametrize(
    ("invariant", "who", "wei"),
    [
        ("every_coin_is_accounted_for", LEDGER, -1),
        ("every_coin_is_accounted_for", INFERENCE, 1),
        ("contracts_and_model_agree", FINE_TUNING, 1),
        ("nobody_earns_more_than_was_signed", "provider", 1),
        ("nobody_earns_more_than_was_signed", "stranger", 1),
    ],
)
def test_a_coin_out_of_place(machine: Machine, invariant: str, who: str, wei: int) -> None:
    world = machine.world
    people = {"provider": world.providers[0], "stranger": world.stranger}
    address = people.get(who) or world.addresses[who]
    world.evm.set_balance(address, world.evm.balance(address) + wei)
    world.changes += 1
    with pytest.raises(AssertionError):
        getattr(machine, invariant)()


@pytest.mark.parametrize(
    ("invariant", "listing", "at", "field", "change"),
    [
        ("every_coin_is_accounted_for", "getAllLedgers", 0, "totalBalance", 1),
        ("refunds_add_up", "getAllAccounts", 0, "pendingRefund", 1),
        ("nonces_only_grow", "getAllAccounts", 0, "nonce", -1),
        ("balances_fall_only_by_settlement_or_retrieval", "getAllAccounts", 1, "balance", -1),
        ("only_users_themselves_take_from_what_is_available", "getAllLedgers", 1, "availableBalance", -1),
    ],
)
def test_a_number_out_of_place(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, invariant: str, listing: str, at: int, field: str, change: int
) -> None:
    machine.acts.deposit(machine.world.users[0], machine.world.users[1], "1 wei")
    machine.only_users_themselves_take_from_what_is_available()

    def alter(page: Any) -> None:
        page[at][field] += change

    _misread(machine, monkeypatch, listing, alter)
    with pytest.raises(AssertionError):
        getattr(machine, invariant)()


def test_a_nonce_accepted_twice(machine: Machine) -> None:
    where, name, sender, args = machine.acts.settled[-1]
    with pytest.raises(AssertionError, match="twice"):
        machine.acts._accept(where, name, args, sender, [0])


def test_money_that_does_not_come_home(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    user = machine.world.users[1]
    providers, asked = machine.acts.ask_back(user, INFERENCE)
    monkeypatch.setattr(machine.world, "wait", lambda _: None)
    with pytest.raises(AssertionError, match="came home"):
        machine.acts.take_home(user, INFERENCE, providers, asked)


def test_money_that_got_less_on_the_way(machine: Machine) -> None:
    user = machine.world.users[1]
    providers, asked = machine.acts.ask_back(user, INFERENCE)
    with pytest.raises(AssertionError, match="asked back became"):
        machine.acts.take_home(user, INFERENCE, providers, asked + 1)


def test_a_coin_that_stays_behind(machine: Machine) -> None:
    machine.acts.forced[INFERENCE] = -1
    with pytest.raises(AssertionError, match="stayed behind"):
        everybody_leaves(machine.acts)
