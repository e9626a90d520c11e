# SPDX-License-Identifier: Apache-2.0
"""Plain transfers, and calldata that fits no function"""

import pytest

from tests.unit.contract import Contract, error
from tests.unit.fine_tuning.world import World


@pytest.mark.parametrize("sender", ["ledger", "user", "provider", "owner"])
@pytest.mark.parametrize("coins", [0, 1])
def test_a_plain_transfer_is_refused(world: World, serving: Contract, sender: str, coins: int) -> None:
    assert serving.refused_raw(b"", sender=getattr(world, sender), value=coins) == error("DirectDepositsDisabled")


@pytest.mark.parametrize("data", ["00", "ffffff", "deadbeef", "deadbeef" + "00" * 32])
def test_unknown_calldata_is_refused_without_words(serving: Contract, user: str, data: str) -> None:
    assert serving.refused_raw(bytes.fromhex(data), sender=user) is None


def test_coins_for_a_call_that_takes_none(serving: Contract, user: str, provider: str) -> None:
    data = serving.interface.encode("acknowledgeTEESigner", provider, True)
    assert serving.refused_raw(data, sender=user, value=1) is None


def test_coins_forced_in_belong_to_nobody(world: World, serving: Contract, user: str, opened: int) -> None:
    world.evm.set_balance(serving.address, world.evm.balance(serving.address) + 5)
    world.forced = 5
    world.empty_account()
    assert serving.ask("lockedBalance", user) == 0
    assert world.evm.balance(serving.address) == 5
    assert opened > 0
