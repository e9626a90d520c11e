# SPDX-License-Identifier: Apache-2.0
"""Fees, reservations and bounds: whole wei, never more than was reserved."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_network.gateway.fees import LEAST_OUTPUT, Bounds, Reservation, Tariff, most, reserve
from serving_network.gateway.refusals import RequestRefused
from serving_network.gateway.usage import MAX_COUNT, Usage
from serving_network.messages.prices import Prices, cached_divisor
from tests.messages.vectors import PROVIDER

TARIFF = Tariff(Prices(100, 400))

PRICES = st.integers(0, 10**18)
TARIFFS = st.builds(Tariff, st.builds(Prices, PRICES, PRICES, st.integers(1, 100)))
BOUNDS = st.builds(Bounds, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 128), st.booleans())
USAGES = st.builds(Usage, st.integers(0, MAX_COUNT), st.integers(0, MAX_COUNT), st.integers(0, MAX_COUNT)).map(
    lambda usage: usage._replace(cached=min(usage.cached, usage.input))
)


@pytest.mark.parametrize(
    ("usage", "divisor", "fees"),
    [
        (Usage(12, 5), 1, (1200, 2000)),
        (Usage(12, 5, 8), 1, (1200, 2000)),
        (Usage(12, 5, 8), 4, (600, 2000)),
        (Usage(12, 0, 12), 7, (171, 0)),  # 1200 / 7 = 171.4
        (Usage(0, 3), 1, (0, 1200)),  # three images
        (Usage(8, 0), 1, (800, 0)),  # eight seconds
        (Usage(0, 0), 1, (0, 0)),
    ],
)
def test_the_fees_of_a_usage(usage: Usage, divisor: int, fees: tuple[int, int]) -> None:
    assert Tariff(TARIFF.prices._replace(cached_divisor=divisor)).fees(usage) == fees


@pytest.mark.parametrize(
    ("info", "divisor"),
    [
        ('{"cacheTokenBilling":{"divisor":4}}', 4), ('{"cacheTokenBilling":{"divisor":1}}', 1), ("{}", 1), ("", 1),
        ("not JSON", 1), ("[]", 1), ("null", 1), ('{"cacheTokenBilling":4}', 1), ('{"cacheTokenBilling":{}}', 1),
        *((json.dumps({"cacheTokenBilling": {"divisor": wrong}}), 1) for wrong in (0, -4, "4", 2.5, True, None)),
    ],
)  # fmt: skip
def test_the_divisor_of_cached_input(info: str, divisor: int) -> None:
    assert cached_divisor(info) == divisor


def test_what_is_affordable_is_reserved_as_asked() -> None:
    bounds = Bounds(10, 1000, 2, shrinks=True)
    assert most(TARIFF, bounds) == 10 * 100 + 2 * 1000 * 400
    assert reserve(TARIFF, bounds, 801_000, PROVIDER) == Reservation(801_000, bounds)


def test_the_bound_shrinks_to_the_free_money() -> None:
    bounds = Bounds(10, 1000, 2, shrinks=True)
    assert reserve(TARIFF, bounds, 800_999, PROVIDER) == Reservation(800_200, bounds._replace(output=999))
    least = 1000 + 2 * LEAST_OUTPUT * 400
    assert reserve(TARIFF, bounds, least, PROVIDER) == Reservation(least, bounds._replace(output=LEAST_OUTPUT))


def test_below_the_least_bound_the_request_is_refused_with_what_is_missing() -> None:
    with pytest.raises(RequestRefused) as refused:
        reserve(TARIFF, Bounds(10, 1000, 2, shrinks=True), 205_799, PROVIDER)
    assert (refused.value.status, refused.value.code) == (402, "insufficient_funds")
    assert json.loads(refused.value.body())["error"]["message"] == (
        "This request can cost 205800 wei. Your account with the provider has 205799 wei free and lacks 1 wei. "
        f'Fund it: serving ledger fund {PROVIDER} "1 wei"'
    )


def test_what_an_account_lacks_is_what_it_owes_and_what_the_request_can_cost() -> None:
    with pytest.raises(RequestRefused, match="owes 32 wei more than it can spend and lacks 205832 wei"):
        reserve(TARIFF, Bounds(10, 1000, 2, shrinks=True), -32, PROVIDER)


def test_the_command_that_funds_a_request_has_the_exact_amount_in_coins() -> None:
    price = Prices(10**12, 4 * 10**12)
    with pytest.raises(RequestRefused) as refused:
        reserve(TARIFF._replace(prices=price), Bounds(7, 255), 1, PROVIDER)
    message = json.loads(refused.value.body())["error"]["message"]
    assert message.endswith(f'serving ledger fund {PROVIDER} "0.001026999999999999 coins"')


@pytest.mark.parametrize(
    ("bounds", "free"),
    [
        (Bounds(10, 255, 1, shrinks=True), 10 * 100 + 255 * 400 - 1),  # a short answer does not shrink
        (Bounds(0, 3), 3 * 400 - 1),  # neither do images
        (Bounds(10, 0), 999),  # nor embeddings
        (Bounds(10, 4096), 10 * 100 + 4095 * 400),  # nor transcriptions
        (Bounds(10, 1000, 1, shrinks=True), -5),
    ],
)
def test_what_cannot_shrink_is_refused(bounds: Bounds, free: int) -> None:
    with pytest.raises(RequestRefused, match="lacks"):
        reserve(TARIFF, bounds, free, PROVIDER)


@given(TARIFFS, BOUNDS, st.integers(-(10**20), 10**28), USAGES)
def test_nobody_pays_more_than_is_reserved_and_nobody_reserves_more_than_is_free(
    tariff: Tariff, bounds: Bounds, free: int, usage: Usage
) -> None:
    try:
        reservation = reserve(tariff, bounds, free, PROVIDER)
    except RequestRefused:
        least = min(bounds.output, LEAST_OUTPUT) if bounds.shrinks else bounds.output
        assert most(tariff, bounds._replace(output=least)) > free
        return
    assert reservation.wei <= max(free, 0)
    assert reservation.wei == most(tariff, reservation.bounds)
    assert reservation.bounds.output == bounds.output or bounds.shrinks
    assert min(bounds.output, LEAST_OUTPUT) <= reservation.bounds.output <= bounds.output
    if reservation.bounds.output < bounds.output:
        larger = reservation.bounds._replace(output=reservation.bounds.output + 1)
        assert most(tariff, larger) > free
    billed = reservation.billed(usage)
    assert sum(tariff.fees(billed)) <= reservation.wei
    assert (billed.input, billed.output) <= (usage.input, usage.output)
    assert billed.cached <= billed.input
    if usage.input <= bounds.input and usage.output <= reservation.bounds.output:
        assert billed == usage
