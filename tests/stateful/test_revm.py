# SPDX-License-Identifier: Apache-2.0
"""What tests put in by hand, and take back, is the same on both EVMs."""

import pytest

from tests.evm import Evm
from tests.stateful import revm

pytestmark = pytest.mark.skipif(not revm.available, reason="pyrevm has no wheel for this Python")

# CALLER PUSH0 SSTORE, and the calldata's first word back
NOTES_ITS_CALLER = bytes.fromhex("335f555f355f5260205ff3")
# PUSH0 PUSH0 REVERT
REVERTS = bytes.fromhex("5f5ffd")
# PUSH1 1 PUSH0 MSTORE PUSH1 32 PUSH0 LOG0 PUSH2 "ab" PUSH0 MSTORE PUSH1 32 PUSH0 REVERT
REVERTS_WITH_WORD = bytes.fromhex("60015f5260205fa06161625f5260205ffd")


@pytest.fixture(params=[Evm, revm.Revm], ids=["py-evm", "revm"])
def evm(request: pytest.FixtureRequest) -> Evm:
    made: Evm = request.param()
    return made


def created(evm: Evm, code: bytes) -> str:
    # PUSH1 length DUP1 PUSH1 9 PUSH0 CODECOPY PUSH0 RETURN
    outcome = evm.deploy(bytes.fromhex(f"60{len(code):02x}8060095f395ff3") + code, sender=evm.account("deployer"))
    assert outcome.created is not None
    return outcome.created


def test_code_is_read_as_it_was_written_also_after_it_has_run(evm: Evm) -> None:
    contract = created(evm, NOTES_ITS_CALLER)
    evm.send(contract, sender=evm.account("user"))
    assert evm.code(contract) == NOTES_ITS_CALLER
    for code in (b"\0", b"", b"\0" * 40, REVERTS):
        evm.set_code(contract, code)
        evm.send(contract, sender=evm.account("user"))
        assert evm.code(contract) == code


def test_a_contract_sends_in_its_own_name(evm: Evm) -> None:
    sender, receiver = created(evm, NOTES_ITS_CALLER), created(evm, NOTES_ITS_CALLER)
    evm.set_balance(sender, 10)
    outcome = evm.send(receiver, b"\x07" * 32, sender=sender, value=4)
    assert (outcome.success, outcome.output) == (True, b"\x07" * 32)
    assert evm.storage(receiver, 0) == int(sender, 16)
    assert (evm.balance(sender), evm.balance(receiver)) == (6, 4)
    assert evm.code(sender) == NOTES_ITS_CALLER


def test_a_contract_that_sends_to_itself_is_its_own_caller(evm: Evm) -> None:
    contract = created(evm, NOTES_ITS_CALLER)
    assert evm.send(contract, b"\x01" * 32, sender=contract).output == b"\x01" * 32
    assert evm.storage(contract, 0) == int(contract, 16)


def test_a_reason_reaches_a_contract_that_sends(evm: Evm) -> None:
    sender, receiver = created(evm, NOTES_ITS_CALLER), created(evm, REVERTS_WITH_WORD)
    outcome = evm.send(receiver, sender=sender)
    assert (outcome.success, outcome.logs) == (False, ())
    assert outcome.output == b"ab".rjust(32, b"\0")


def test_a_mark_takes_everything_back_any_number_of_times(evm: Evm) -> None:
    user, contract = evm.account("user", coins=100), created(evm, NOTES_ITS_CALLER)
    evm.send(contract, sender=user, value=1)
    mark = evm.snapshot()
    for _ in range(3):
        evm.time += 50
        evm.send(contract, sender=evm.account("another"), value=7)
        evm.set_balance(user, 5)
        evm.send(contract, sender=user, value=2)
        evm.set_code(contract, REVERTS)
        newer = created(evm, NOTES_ITS_CALLER)
        evm.set_balance(newer, 9)
        evm.revert(mark)
        assert (evm.balance(user), evm.balance(contract)) == (99, 1)
        assert evm.storage(contract, 0) == int(user, 16)
        assert (evm.code(contract), evm.code(newer), evm.balance(newer)) == (NOTES_ITS_CALLER, b"", 0)


def test_going_back_leaves_room_for_calls(evm: Evm) -> None:
    contract, user = created(evm, NOTES_ITS_CALLER), evm.account("user")
    mark = evm.snapshot()
    for _ in range(1_100):
        inner = evm.snapshot()
        evm.send(contract, sender=user)
        evm.revert(inner)
        del inner
        evm.revert(mark)
        assert evm.send(contract, sender=user).success
    evm.revert(mark)
    assert evm.storage(contract, 0) == 0
