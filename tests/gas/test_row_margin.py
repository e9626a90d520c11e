# SPDX-License-Identifier: Apache-2.0
"""However users change their accounts after the estimate, the settlement is mined within its margin.

Amounts are in wei. Every state is reached through the ledger, by what the users themselves may send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from benchmarks.gas.network import Network, Step
from serving_network.messages.typed_data import UserSettlement
from serving_network.settlement.gas import ROW_MARGIN, worst_case_gas
from tests.evm import GAS_LIMIT, Outcome
from tests.unit.contract import COIN

FEE = COIN
SMALL = FEE // 8
BALANCE = 10 * COIN
MAX_REFUNDS = 5
ROWS = 2
FORMS: dict[str, int] = {"settleFeesWithTEE": 50, "settleBatchWithTEE": 200}
Make = Callable[[Sequence[UserSettlement]], Step]


@dataclass(frozen=True)
class State:
    """The refunds of an account, oldest first, and its free balance."""

    refunds: tuple[int, ...]
    free: int

    @property
    def balance(self) -> int:
        return sum(self.refunds) + self.free


def untouched(active: int) -> State:
    """The free balance covers the fee."""
    return State((COIN,) * active, BALANCE - active * COIN)


def cut(active: int, whole: int) -> State:
    """The fee takes the newest refunds in full and a part of the one before them."""
    older = active - whole - 1
    largest = BALANCE - older * COIN - whole * SMALL
    return State((COIN,) * older + (largest,) + (SMALL,) * whole, 0)


def exact(active: int, whole: int) -> State:
    """The fee takes the newest refunds in full and nothing else."""
    older = active - whole
    newest = (FEE - (whole - 1) * SMALL,) + (SMALL,) * (whole - 1)
    return State((COIN,) * older + newest, 0)


def paid_in_part(active: int) -> State:
    """The whole balance is pending refund and does not cover the fee."""
    return State((SMALL,) * active, 0 if active else SMALL)


REACHABLE = [
    *(untouched(active) for active in range(MAX_REFUNDS + 1)),
    *(cut(active, whole) for active in range(1, MAX_REFUNDS + 1) for whole in range(active)),
    *(exact(active, whole) for active in range(1, MAX_REFUNDS + 1) for whole in range(1, active + 1)),
    *(paid_in_part(active) for active in range(MAX_REFUNDS + 1)),
]
WORST = cut(MAX_REFUNDS, MAX_REFUNDS - 1)


@pytest.fixture(scope="module")
def built() -> Network:
    return Network(ROWS)


@pytest.fixture
def net(built: Network) -> Iterator[Network]:
    with built.undone():
        yield built


def maker(net: Network, form: str) -> Make:
    return net.settle_each if form == "settleFeesWithTEE" else net.settle_batch


def bring(net: Network, user: str, state: State) -> None:
    """Bring an account from any state to this one."""
    account = net.inference.ask("getAccount", user, net.provider)
    if account["pendingRefund"]:
        net.transfer(user, amount=account["pendingRefund"])
    if account["balance"] > state.balance:
        net.settle_batch([net.settlement(user, account["balance"] - state.balance)]).send()
    rest = state.balance
    for refund in state.refunds:
        net.retrieve_step(user, [net.provider]).send()
        rest -= refund
        if rest:
            net.transfer(user, amount=rest)
    account = net.inference.ask("getAccount", user, net.provider)
    assert account["balance"] == state.balance
    assert tuple(refund["amount"] for refund in account["refunds"]) == state.refunds


def bring_all(net: Network, state: State) -> None:
    for user in net.customers:
        bring(net, user, state)


def outcome(net: Network, step: Step, gas: int = GAS_LIMIT) -> Outcome:
    with net.evm.rolled_back():
        return net.evm.send(step.contract.address, step.data, sender=step.sender, gas=gas)


def succeeds(net: Network, step: Step, gas: int) -> bool:
    return outcome(net, step, gas).success


def least_limit(net: Network, step: Step) -> int:
    """The lowest gas limit with which the transaction succeeds, which is what a node estimates."""
    limit = outcome(net, step).gas_needed
    assert succeeds(net, step, limit)
    assert not succeeds(net, step, limit - 1)
    return limit


def steps(net: Network) -> dict[str, Step]:
    """The same rows in both forms."""
    rows = [net.settlement(user, FEE) for user in net.customers]
    return {form: maker(net, form)(rows) for form in FORMS}


@pytest.mark.parametrize(
    ("before", "after"),
    [(before, after) for before in range(MAX_REFUNDS + 1) for after in range(max(before, 1), MAX_REFUNDS + 1)],
)
def test_a_settlement_survives_refunds_that_come_after_its_estimate(net: Network, before: int, after: int) -> None:
    bring_all(net, untouched(before))
    sent = steps(net)
    limits = {form: least_limit(net, step) + worst_case_gas(ROWS) for form, step in sent.items()}
    bring_all(net, cut(after, after - 1))
    assert {form: succeeds(net, step, limits[form]) for form, step in sent.items()} == dict.fromkeys(FORMS, True)


def test_no_state_of_an_account_costs_more_than_the_margin(built: Network) -> None:
    def measured(state: State) -> dict[str, float]:
        with built.undone():
            bring_all(built, state)
            return {form: least_limit(built, step) / ROWS for form, step in steps(built).items()}

    least = measured(untouched(0))
    added = {state: {form: gas - least[form] for form, gas in measured(state).items()} for state in REACHABLE}
    for form in FORMS:
        dearest = max(added, key=lambda state: added[state][form])
        assert dearest == WORST
        assert 0.95 * ROW_MARGIN <= added[dearest][form] <= ROW_MARGIN
        assert min(gas[form] for gas in added.values()) >= 0


@pytest.mark.parametrize("form", FORMS)
def test_the_largest_settlement_has_no_gas_to_spare(form: str) -> None:
    net = Network(FORMS[form], neighbours=0)
    step = maker(net, form)([net.settlement(user, FEE) for user in net.customers])
    estimate = least_limit(net, step)
    bring_all(net, WORST)
    margin = worst_case_gas(FORMS[form])
    assert not succeeds(net, step, estimate)
    assert not succeeds(net, step, estimate + margin * 95 // 100)
    assert succeeds(net, step, estimate + margin)
