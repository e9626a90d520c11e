# SPDX-License-Identifier: Apache-2.0
"""Plain transfers, and calldata that fits no function"""

import pytest

from tests.unit.contract import COIN, Contract, error
from tests.unit.ledger.world import Service, World


@pytest.mark.parametrize("value", [0, COIN])
def test_a_plain_transfer_is_refused(ledger: Contract, world: World, user: str, value: int) -> None:
    unregistered = world.service(registered=False)
    for sender in (user, world.owner, unregistered.address):
        assert ledger.refused_raw(b"", sender=sender, value=value) == error("DirectDepositsDisabled")


@pytest.mark.parametrize("kind", ["service", "native"])
def test_a_registered_service_may_send_coins_which_are_nobodys(
    ledger: Contract, world: World, opened: int, kind: str, request: pytest.FixtureRequest
) -> None:
    service: Service = request.getfixturevalue(kind)
    done = service.send("pay_ledger", COIN, sender=world.stranger)
    world.forced += COIN
    assert done.logs == ()
    assert world.available(world.user) == opened
    assert world.evm.balance(ledger.address) == opened + COIN


@pytest.mark.parametrize("data", [b"\0", b"\1\2\3", b"\xde\xad\xbe\xef", bytes(100)])
@pytest.mark.parametrize("value", [0, 1])
def test_calldata_that_fits_nothing_is_refused_without_a_word(
    ledger: Contract, user: str, service: Service, data: bytes, value: int
) -> None:
    for sender in (user, service.address):
        assert ledger.refused_raw(data, sender=sender, value=value) is None


@pytest.mark.parametrize("name", ["depositFundFor", "addLedger", "refund"])
def test_cut_calldata_is_refused_without_a_word(ledger: Contract, user: str, name: str) -> None:
    assert ledger.refused_raw(ledger.interface.selector(name), sender=user, value=0) is None


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    ("name", "args"),
    [("refund", [1]), ("refundAll", []), ("deleteLedger", []), ("updateAdditionalInfo", [""]), ("owner", [])],
)
def test_coins_with_a_call_that_takes_none_are_refused(
    ledger: Contract, user: str, name: str, args: list[int | str]
) -> None:
    assert ledger.refused(name, *args, sender=user, value=1) is None


def test_coins_forced_in_are_nobodys(ledger: Contract, world: World, user: str, opened: int) -> None:
    """By self-destruct or as a block's reward: nothing asks what the ledger holds."""
    world.evm.set_balance(ledger.address, world.evm.balance(ledger.address) + COIN)
    world.forced += COIN
    assert world.available(user) == opened
    ledger.send("refundAll", sender=user)
    assert world.evm.balance(ledger.address) == COIN
