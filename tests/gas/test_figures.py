# SPDX-License-Identifier: Apache-2.0
"""No operation exceeds its budget, only a caller's own data raises its gas, and the committed figures are current.

If a figure changed on purpose, run `make gas-update` and commit what it writes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.gas.facts import calldata_floor
from benchmarks.gas.growth import Growth, by_accounts, by_deliverables, by_providers, by_refunds, by_services
from benchmarks.gas.network import Network
from benchmarks.gas.operations import BUDGETS, INVALID_NONCE, OPERATIONS, Budget, measure, statuses
from benchmarks.gas.report import BLOCK, DOCS, blocks, documented
from benchmarks.gas.snapshot import CUSTOMERS, SECTIONS, UPDATE, differences, over_budget, read, too_large

COMMITTED = read()
LIMITED = [row for row in BUDGETS if row.limit is not None]


@pytest.fixture(scope="module")
def net() -> Network:
    return Network(CUSTOMERS)


def test_every_budget_has_its_operation() -> None:
    assert [row.operation for row in BUDGETS] == list(OPERATIONS)


@pytest.mark.parametrize("section", [section for section in SECTIONS if section not in ("growth", "views")])
def test_the_committed_figures_are_todays(net: Network, section: str) -> None:
    measured = SECTIONS[section](net)
    assert differences(COMMITTED[section], measured) == [], UPDATE


def test_no_operation_is_over_its_budget() -> None:
    assert over_budget(COMMITTED["operations"]) == []


def test_every_contract_fits_on_a_chain() -> None:
    assert too_large(COMMITTED["code"]) == []


@pytest.mark.parametrize("row", LIMITED, ids=lambda row: row.operation)
def test_the_gas_limit_of_a_published_client_is_enough(net: Network, row: Budget) -> None:
    assert row.limit is not None
    done = measure(net, OPERATIONS[row.operation], row.limit)
    assert done.gas_before_refunds <= row.limit
    assert set(statuses(done)) <= {0}


def test_the_batch_of_production_brokers_settles_fifty_users_in_full(net: Network) -> None:
    done = measure(net, OPERATIONS["settleFeesWithTEE x50, distinct users, steady state"], 1_010_000)
    assert statuses(done) == [0] * 50
    assert len({args["user"] for args in done.named("BalanceUpdated")}) == 50


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith(("settleFeesWith", "settleBatch"))])
def test_settlements_are_measured_with_the_status_that_they_are_named_for(net: Network, name: str) -> None:
    expected = INVALID_NONCE if "INVALID_NONCE" in name else 0
    assert set(statuses(measure(net, OPERATIONS[name]))) == {expected}


@pytest.mark.parametrize("grow", [by_services, by_accounts, by_providers, by_refunds, by_deliverables])
def test_only_what_is_the_callers_own_makes_a_call_dearer(grow: Callable[[], Growth]) -> None:
    growth = grow()
    assert growth.not_flat() == []
    committed = {key: gas for key, gas in COMMITTED["growth"].items() if key in growth.figures()}
    assert differences(committed, growth.figures()) == [], UPDATE


def test_the_floor_of_calldata_never_binds() -> None:
    floors = {name: COMMITTED["facts"][f"{name}, floor of its calldata"] for name in OPERATIONS}
    assert [name for name, floor in floors.items() if COMMITTED["operations"][name] <= floor] == []
    assert calldata_floor(bytes(10) + b"\1" * 5) == 21_000 + 10 * (10 + 4 * 5)


def test_the_documentation_shows_the_committed_figures() -> None:
    text = DOCS.read_text()
    assert {block[2] for block in BLOCK.finditer(text)} == set(blocks(COMMITTED))
    assert documented(text, COMMITTED) == text, "Run `make gas-update`: docs/gas.md does not show benchmarks/gas.json."


def test_a_broken_budget_a_large_contract_and_a_stale_figure_are_reported() -> None:
    row = BUDGETS[0]
    assert over_budget(COMMITTED["operations"] | {row.operation: row.budget + 1}) == [
        f"{row.operation}: {row.budget + 1:,} is over the budget of {row.budget:,}"
    ]
    assert too_large({"code": 24_577, "other": 24_576}) == ["code: 24,577"]
    assert differences({"a": 1000, "b": 2}, {"a": 1001, "c": 3}) == [
        "a: 1,000 -> 1,001 (+1)",
        "b: 2 (no longer measured)",
        "c: 3 (new)",
    ]


def test_a_line_that_grows_is_reported() -> None:
    growth = Growth("waiting refunds of the account", {"flat": [1] * 6, "grows": [1, 1, 1, 1, 1, 2], "own": [1, 2] * 3})
    assert growth.not_flat() == ["grows", "own"]
