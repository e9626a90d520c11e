# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title Somebody whose wallet is a contract
@notice Does what it is told, and on receiving coins calls whom it was told to call.
@dev How money is lost here: anybody may tell it anything; it is for tests only.
     How the owner prevents it: by not using it.
"""

# @notice Whether the call made on receiving coins succeeded, how many there were, and what the last answered.
succeeded: public(bool)
calls: public(uint256)
answer: public(Bytes[1024])

_target: address
_data: Bytes[4096]


@external
@payable
def __default__():
    if self._target != empty(address):
        self.calls += 1
        self.succeeded, self.answer = raw_call(
            self._target, self._data, max_outsize=1024, revert_on_failure=False
        )


@external
def onCoins(target: address, data: Bytes[4096]):
    self._target = target
    self._data = data


@external
def act(target: address, data: Bytes[4096], coins: uint256):
    raw_call(target, data, value=coins)


@external
def actTwice(target: address, first: Bytes[4096], second: Bytes[4096]):
    """
    @notice Two calls in one transaction.
    """
    raw_call(target, first)
    raw_call(target, second)
