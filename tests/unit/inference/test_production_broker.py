# SPDX-License-Identifier: Apache-2.0
"""The gas limit that production brokers send, and the worst that their batches may be."""

import pytest

from tests.unit.contract import COIN
from tests.unit.inference.world import SUCCESS, World, statuses_of

GAS_OF_A_BATCH_OF_50 = 1_010_000
# The brokers count in units of 100 ns since 1970.
FIRST_NONCE = 17_637_984_000_000_001


@pytest.mark.usefixtures("confirmed")
def test_a_batch_of_50_distinct_users_first_and_later(world: World) -> None:
    users = [world.evm.account(f"user {place}") for place in range(50)]
    for user in users:
        world.open(user)
    for round_ in range(3):
        fees = [world.fee(4 * 10**15 + 12_345, user=user, nonce=FIRST_NONCE + round_) for user in users]
        done = world.settle(*fees, gas=GAS_OF_A_BATCH_OF_50)
        assert done.result == [SUCCESS] * 50
        assert done.gas_before_refunds <= GAS_OF_A_BATCH_OF_50


@pytest.mark.usefixtures("confirmed")
def test_a_batch_of_200_rows_in_one_call(world: World) -> None:
    users = [world.evm.account(f"user {place}") for place in range(200)]
    for user in users:
        world.open(user, coins=COIN)
    for round_ in range(2):
        fees = [world.fee(10**15, user=user, nonce=FIRST_NONCE + round_) for user in users]
        assert statuses_of(world.settle_batch(*fees, gas=1_900_000).result, 200) == [SUCCESS] * 200
