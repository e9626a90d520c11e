# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title A wallet that is a contract
@notice It does what it is told. When coins reach it, it refuses them, or calls somebody once, whatever comes of that.
"""

event CalledBack:
    success: bool
    answer: Bytes[MAX_ANSWER]


MAX_CALL: constant(uint256) = 32768
MAX_ANSWER: constant(uint256) = 4096

_refuses: bool
_target: address
_call: Bytes[MAX_CALL]


@external
@payable
def __default__():
    assert not self._refuses
    target: address = self._target
    if target != empty(address):
        self._target = empty(address)
        success: bool = False
        answer: Bytes[MAX_ANSWER] = b""
        success, answer = raw_call(target, self._call, max_outsize=MAX_ANSWER, revert_on_failure=False)
        log CalledBack(success=success, answer=answer)


@external
def plan(refuses: bool, target: address, call: Bytes[MAX_CALL]):
    self._refuses = refuses
    self._target = target
    self._call = call


@external
@raw_return
def run(target: address, coins: uint256, call: Bytes[MAX_CALL]) -> Bytes[MAX_ANSWER]:
    """
    @notice Make a call with the puppet's own coins and pass on what it returns or reverts with.
    """
    return raw_call(target, call, max_outsize=MAX_ANSWER, value=coins)
