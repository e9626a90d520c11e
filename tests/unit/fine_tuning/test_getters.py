# SPDX-License-Identifier: Apache-2.0
"""The constants and settings: MIN_LOCKTIME, MAX_LOCKTIME, MIN_PROVIDER_STAKE, ledgerAddress, lockTime, owner,
penaltyPercentage"""

from tests.unit.contract import COIN, Contract, behind_front
from tests.unit.fine_tuning.world import DAY, PENALTY, STAKE, World


def test_answers(serving: Contract, ledger: str, owner: str) -> None:
    assert serving.ask("MIN_LOCKTIME") == 3600
    assert serving.ask("MAX_LOCKTIME") == 7 * DAY
    assert serving.ask("MIN_PROVIDER_STAKE") == STAKE
    assert serving.ask("ledgerAddress") == ledger
    assert serving.ask("lockTime") == DAY
    assert serving.ask("owner") == owner
    assert serving.ask("penaltyPercentage") == PENALTY


def test_the_stake_is_the_implementations(world: World, owner: str) -> None:
    other = behind_front(
        world.evm, "FineTuningServing", COIN // 10, owner=owner, initialize=(DAY, world.ledger, owner, PENALTY)
    )
    assert other.ask("MIN_PROVIDER_STAKE") == COIN // 10
