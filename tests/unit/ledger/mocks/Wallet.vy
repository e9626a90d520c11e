# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize none
"""
@title A user that is a contract
@notice Sends what it is told to send, and answers coins as it was told: it takes them, refuses them, or calls somebody.
@dev How money is lost here: anybody may tell it anything; it is for tests only.
     How the owner prevents it: by not using it.
"""

refusing: public(bool)

# @notice What the call made on receiving coins came to.
succeeded: public(bool)
answer: public(Bytes[256])

_target: address
_data: Bytes[512]


@external
@payable
def __default__():
    assert not self.refusing, "no coins, please"
    if self._target != empty(address):
        self.succeeded, self.answer = raw_call(
            self._target, self._data, max_outsize=256, revert_on_failure=False
        )


@external
def refuse(refusing: bool):
    self.refusing = refusing


@external
def on_coins(target: address, data: Bytes[512]):
    """
    @notice Call `target` whenever coins come in.
    """
    self._target = target
    self._data = data


@external
def execute(target: address, data: Bytes[1024], coins: uint256):
    """
    @notice Call somebody with `coins` wei; a revert is handed on.
    """
    raw_call(target, data, value=coins)


@external
def execute_both(first: address, data1: Bytes[1024], second: address, data2: Bytes[1024]):
    """
    @notice Two calls in one transaction.
    """
    raw_call(first, data1)
    raw_call(second, data2)
