# SPDX-License-Identifier: Apache-2.0
"""updateLockTime, supportsInterface, the constants, and calls that fit no function"""

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import DAY, STAKE, World

NOT_OWNER = error("Error", message="Ownable: caller is not the owner")


@pytest.mark.parametrize("seconds", [3600, DAY, 7 * DAY])
def test_update_lock_time(serving: Contract, owner: str, seconds: int) -> None:
    done = serving.send("updateLockTime", seconds, sender=owner)
    assert done.events == [event("LockTimeUpdated", oldLockTime=DAY, newLockTime=seconds)]
    assert serving.ask("lockTime") == seconds


def test_update_lock_time_checks_in_order(serving: Contract, owner: str, stranger: str) -> None:
    for seconds in (0, 3599, 7 * DAY + 1, 2**256 - 1):
        assert serving.refused("updateLockTime", seconds, sender=stranger) == NOT_OWNER
        assert serving.refused("updateLockTime", seconds, sender=owner) == error(
            "LockTimeOutOfRange", lockTime=seconds, min=3600, max=7 * DAY
        )
    assert serving.ask("lockTime") == DAY


def test_supports_interface(serving: Contract) -> None:
    supported = {"01ffc9a7", "160841b1", "1ffc15d2"}
    for name in [*supported, "ffffffff", "00000000", "01ffc9a8", "a7c9ff01"]:
        assert serving.ask("supportsInterface", bytes.fromhex(name)) is (name in supported)


def test_what_the_ledger_asks_makes_up_its_interface(serving: Contract) -> None:
    combined = 0
    for name in ("lockedBalance", "providerCount", "providersOf"):
        combined ^= int.from_bytes(serving.interface.selector(name), "big")
    assert combined == 0x1FFC15D2


def test_constants(serving: Contract, ledger: str, owner: str) -> None:
    assert serving.ask("MIN_LOCKTIME") == 3600
    assert serving.ask("MAX_LOCKTIME") == 7 * DAY
    assert serving.ask("MIN_PROVIDER_STAKE") == STAKE
    assert (serving.ask("ledgerAddress"), serving.ask("owner")) == (ledger, owner)


def test_coins_alone_are_refused(world: World, serving: Contract, ledger: str, stranger: str) -> None:
    for caller in (stranger, ledger, world.owner, world.provider):
        for value in (0, 1, COIN):
            assert serving.refused_raw(b"", sender=caller, value=value) == error("DirectDepositsDisabled")


@pytest.mark.parametrize("data", [b"\0", b"\x01\x02\x03", bytes(4), bytes.fromhex("deadbeef"), bytes(68)])
def test_calldata_that_fits_no_function_is_refused_without_a_word(
    serving: Contract, stranger: str, data: bytes
) -> None:
    for value in (0, 1):
        assert serving.refused_raw(data, sender=stranger, value=value) is None


@pytest.mark.parametrize(
    ("function", "arguments"), [("updateLockTime", [DAY]), ("removeService", []), ("settleFeesWithTEE", [[]])]
)
def test_functions_that_take_no_coins_refuse_them(
    serving: Contract, owner: str, function: str, arguments: list[object]
) -> None:
    assert serving.refused(function, *arguments, sender=owner, value=1) is None
