# SPDX-License-Identifier: Apache-2.0
"""A registered service lies about what it holds, sends and owes: only the coins that were given to it are at stake."""

import pytest

from serving_network.contracts import Interface
from tests.attacks.scene import Scene, reason
from tests.stateful.world import INTERFACES, LEDGER
from tests.unit.contract import COIN


@pytest.fixture
def liar(bare: Scene) -> tuple[str, Interface]:
    """A registered service that others wrote, in which the user has a coin."""
    bare.do(LEDGER, "addLedger", "", sender=bare.other_user, value=10 * COIN)
    address, interface = bare.compiled("Liar.vy", bare.addresses[LEDGER])
    assert bare.raw(LEDGER, "registerService", "hostile", "v1", address, "", sender=bare.owner).success
    assert bare.raw(LEDGER, "transferFund", bare.provider, "hostile-v1", COIN, sender=bare.user).success
    return address, interface


@pytest.mark.parametrize(("sends", "reports"), [(0, 1), (1, 0), (0, 2**255), (COIN, COIN - 1), (1, 2)])
def test_reported_and_sent_must_be_the_same(bare: Scene, liar: tuple[str, Interface], sends: int, reports: int) -> None:
    address, interface = liar
    assert bare.evm.send(address, interface.encode("plan", sends, reports, False, b""), sender=bare.stranger).success
    outcome = bare.raw(LEDGER, "retrieveFund", [bare.provider], "hostile-v1", sender=bare.user)
    assert reason(outcome) == ("RefundMismatch", {"received": sends, "reported": reports})


def test_it_cannot_spend_more_than_it_holds_for_that_user(bare: Scene, liar: tuple[str, Interface]) -> None:
    address, interface = liar
    for user, amount, held in ((bare.user, COIN + 1, COIN), (bare.other_user, 1, 0)):
        outcome = bare.evm.send(address, interface.encode("spend", user, amount), sender=bare.stranger)
        assert reason(outcome) == ("InsufficientAvailableBalance", {"available": held, "required": amount})
    assert bare.evm.send(address, interface.encode("spend", bare.user, COIN), sender=bare.stranger).success
    assert reason(bare.evm.send(address, interface.encode("spend", bare.user, 1), sender=bare.stranger)) is not None


def test_one_that_sends_too_much_gives_it_away_and_cannot_spend_it_again(
    bare: Scene, liar: tuple[str, Interface]
) -> None:
    address, interface = liar
    bare.evm.set_balance(address, 5 * COIN)
    assert bare.evm.send(
        address, interface.encode("plan", 3 * COIN, 3 * COIN, False, b""), sender=bare.stranger
    ).success
    assert bare.raw(LEDGER, "retrieveFund", [bare.provider], "hostile-v1", sender=bare.user).success
    assert bare.coins(LEDGER) == 32 * COIN
    outcome = bare.evm.send(address, interface.encode("spend", bare.user, 1), sender=bare.stranger)
    assert reason(outcome) == ("InsufficientAvailableBalance", {"available": 0, "required": 1})


def test_one_that_never_gives_back_or_deletes_costs_what_it_was_given_and_no_more(
    bare: Scene, liar: tuple[str, Interface]
) -> None:
    address, interface = liar
    assert bare.evm.send(address, interface.encode("plan", 0, 0, True, b""), sender=bare.stranger).success
    before = bare.evm.balance(bare.user)
    assert bare.raw(LEDGER, "refundAll", sender=bare.user).success
    assert bare.evm.balance(bare.user) == before + 19 * COIN
    output = bare.evm.view(
        bare.addresses[LEDGER], INTERFACES[LEDGER].encode("getLedger", bare.user), sender=bare.stranger
    ).output
    assert INTERFACES[LEDGER].decode_result("getLedger", output)["totalBalance"] == COIN
